"""What a router sees of a request."""

from typing import Any

import pytest

from routing.prompt_text import Prompt, text_of

SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([{"role": "user", "content": "Why?"}], Prompt("Why?", "")),
        ([SYSTEM, {"role": "user", "content": "Why?"}], Prompt("Why?", "Be brief.")),
        (
            [
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "no"},
                {"role": "user", "content": "last"},
                {"role": "developer", "content": [{"type": "text", "text": "In French."}]},
            ],
            Prompt("last", "In French."),
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                        {"type": "text", "text": "b"},
                    ],
                }
            ],
            Prompt("a\nb", ""),
        ),
        ([{"role": "assistant", "content": None}], Prompt("", "")),
    ],
)
def test_the_last_question_and_the_system_prompt(messages: Any, prompt: Prompt) -> None:
    assert text_of({"messages": messages}) == prompt


def test_a_body_as_it_is_stored() -> None:
    body = '{"messages":[{"role":"user","content":"naïve?"}],"max_tokens":5}'.encode()
    assert text_of(body).text == "naïve?"
