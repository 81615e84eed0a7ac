import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError, LineProblem
from tasks.intake.sources import estimate_lines, read_lines


def read(path: Path, text: str) -> list[tuple[int, Any]]:
    path.write_text(text, encoding="utf-8", newline="")
    return [
        (number, json.loads(line) if isinstance(line, bytes) else line)
        for number, line in read_lines(path)
    ]


def test_a_table_is_prompts_with_the_rest_as_metadata(tmp_path: Path) -> None:
    text = (
        "\ufeffcustom_id,prompt,system,model,label\r\n"
        'a,"Is it, or\nis it not?",,,yes\r\n'
        "\r\n"
        ",Zürich?,Be brief.,cheap,\r\n"
    )
    assert read(tmp_path / "rows.CSV", text) == [
        (2, {"custom_id": "a", "prompt": "Is it, or\nis it not?", "metadata": {"label": "yes"}}),
        (
            5,
            {
                "model": "cheap",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Zürich?"},
                ],
                "metadata": {"label": ""},
            },
        ),
    ]


def test_a_row_with_too_many_cells_is_a_bad_line_and_a_short_one_is_not(tmp_path: Path) -> None:
    short, long = read(tmp_path / "rows.csv", "prompt,label\nonly this\none, two, three\n")
    assert short == (2, {"prompt": "only this"})
    assert isinstance(long[1], LineProblem)
    assert "3 cells under 2 columns" in str(long[1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("text,label\na,b\n", "no column 'prompt' .its columns: text, label"),
        ("", "no column 'prompt' .its columns: none"),
        ("prompt,a,a\n1,2,3\n", "two columns 'a'"),
        ('prompt\n"open', "line 2: the table cannot be read"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path / "rows.csv", text)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.csv.gz"])
def test_what_is_gzipped_is_unpacked(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = "prompt\na\nb\n" if "csv" in name else '{"prompt":"a"}\n\n{"prompt":"b"}\n'
    path.write_bytes(gzip.compress(text.encode()))
    assert [json.loads(line)["prompt"] for _, line in read_lines(path)] == ["a", "b"]
    assert estimate_lines(path) == 3


def test_half_a_gzip_file_is_refused(inn, tmp_path: Path) -> None:
    path = tmp_path / "half.gz"
    whole = gzip.compress(b"".join(b'{"prompt":"%d"}\n' % n for n in range(5000)))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be unpacked"):
        inn.submit(path)
    assert inn.rows("select 1 from requests") == []


def test_the_lines_of_a_large_packed_file_are_estimated(tmp_path: Path) -> None:
    path = tmp_path / "large.gz"
    path.write_bytes(
        gzip.compress(b"".join(b'{"prompt":"%040d"}\n' % (n**7) for n in range(200_000)), 1)
    )
    estimate = estimate_lines(path)
    assert estimate is not None
    assert 100_000 < estimate < 400_000
