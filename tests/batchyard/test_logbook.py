"""Logs of every form, read as one; what is added later is read once."""

import json
from datetime import UTC, datetime
from pathlib import Path

from batchyard.logbook import Line, Reader, parse

BEFORE = Line("x", datetime(2026, 7, 1, tzinfo=UTC), "error", "before")


def test_each_servers_form_is_understood() -> None:
    postgres = parse("p", "2026-07-02 10:11:12.345 UTC [99] ERROR:  no such table", BEFORE)
    assert postgres.at == datetime(2026, 7, 2, 10, 11, 12, 345000, tzinfo=UTC)
    assert (postgres.level, postgres.event) == ("error", "no such table")
    valkey = parse("v", "99:M 02 Jul 2026 10:11:12.345 # WARNING memory", BEFORE)
    assert (valkey.at, valkey.level) == (postgres.at, "warning")
    flower = parse("f", "[W 260702 10:11:12 command:177] Visit me", BEFORE)
    assert (flower.at, flower.level) == (datetime(2026, 7, 2, 10, 11, 12).astimezone(), "warning")
    assert flower.event == "Visit me"


def test_our_own_lines_keep_their_facts() -> None:
    told = {"timestamp": "2026-07-02T10:11:12Z", "level": "info", "event": "claimed", "job": 3}
    line = parse("w", json.dumps(told), BEFORE)
    assert (line.at, line.event) == (datetime(2026, 7, 2, 10, 11, 12, tzinfo=UTC), "claimed")
    assert line.facts == {"job": 3}


def test_a_line_without_a_time_belongs_to_the_one_before() -> None:
    for text in ("  File x, line 3", '{"not": "ours"}', "{broken", ""):
        line = parse("w", text, BEFORE)
        assert (line.at, line.level, line.event) == (BEFORE.at, "error", text)


def test_a_key_in_a_strangers_line_is_masked() -> None:
    assert "hush" not in parse("w", "connecting to redis://:hush@host/0", BEFORE).event


def test_what_is_added_is_read_once_and_whole(tmp_path: Path) -> None:
    log = tmp_path / "w.log"
    log.write_text("one\ntw")
    reader = Reader(log)
    assert [line.event for line in reader.new()] == ["one"]
    with log.open("a") as file:
        file.write("o\nthree\n")
    assert [line.event for line in reader.new()] == ["two", "three"]
    assert list(reader.new()) == []


def test_a_log_that_was_moved_aside_is_read_on(tmp_path: Path) -> None:
    log = tmp_path / "w.log"
    log.write_text("one\n")
    reader = Reader(log)
    assert [line.event for line in reader.new()] == ["one"]
    log.replace(tmp_path / "w.log.1")
    log.write_text("two\n")
    assert [line.event for line in reader.new()] == ["two"]
    fresh = Reader(log)
    assert [line.event for line in (*fresh.old(), *fresh.new())] == ["one", "two"]
