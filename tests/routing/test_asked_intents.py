"""What a model is asked about a prompt, and what its answer says."""

import json

import pytest

from core.intents import OUT_OF_SCOPE, UNCLEAR, IntentFile
from routing.asked_intents import Verdict, clarification, question_body, verdict

FILE = IntentFile.model_validate(
    {
        "intents": {
            "lost_card": {"description": "A card is lost", "examples": ["Where is my card?"]},
            "card": {"examples": ["My card"]},
            "top_up": {},
        },
        "out_of_scope": ["What is the weather?"],
    }
)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"intent": "card", "alternatives": []}', Verdict("card")),
        ('```json\n{"intent": "LOST_CARD"}\n```', Verdict("lost_card")),
        ("It is about lost_card, I think.", Verdict("lost_card")),
        ("out_of_scope", Verdict(OUT_OF_SCOPE)),
        (
            '{"intent": "unclear", "alternatives": ["card", "nonsense", "top_up", "card", 3]}',
            Verdict(UNCLEAR, ("card", "top_up")),
        ),
        ("card or top_up", None),
        ('{"intent": "weather"}', None),
        ("{broken", None),
        ("", None),
    ],
)
def test_an_answer_says_one_thing_or_nothing(answer: str, said: Verdict | None) -> None:
    assert verdict(answer, FILE) == said


def test_the_question_names_all_intents_and_holds_the_answer_to_them() -> None:
    body = json.loads(question_body("x" * 9000, FILE, schema=True))
    system, user = (message["content"] for message in body["messages"])
    for name in (*FILE.intents, OUT_OF_SCOPE, UNCLEAR, "Where is my card?", "the weather?"):
        assert name in system
    assert len(user) == 4000
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["intent"]["enum"] == [*FILE.intents, OUT_OF_SCOPE, UNCLEAR]
    assert "response_format" not in json.loads(question_body("x", FILE, schema=False))


def test_people_are_asked_in_words() -> None:
    error = json.loads(clarification(["lost_card", "top_up"], FILE))
    assert error["question"] == "Which of these is it: A card is lost; or top up?"
    assert [one["intent"] for one in error["options"]] == ["lost_card", "top_up"]
