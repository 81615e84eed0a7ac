"""Made-up utterances of a bank's customers, many enough to learn from."""

import random

OBJECTS = {
    "lost_card": ("lost my card", "cannot find my card", "card is missing", "card went missing"),
    "transfer": ("send money to", "transfer money to", "wire some cash to", "move funds to"),
    "balance": ("how much is on", "what is the balance of", "show the total of", "funds left in"),
}
OPENINGS = ("please help", "hello there", "quickly", "listen", "well", "dear bank", "hi", "so")
ENDINGS = ("today", "my account", "since monday", "right now", "as always", "for my brother")
STRANGE = (
    "which planet is the largest",
    "tell me a joke about penguins",
    "how long do eggs boil",
    "who painted the mona lisa",
)


def spoken(each: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts and their intents, `each` of every one."""
    drawn = random.Random(seed)
    pairs = [
        (f"{drawn.choice(OPENINGS)} {drawn.choice(said)} {drawn.choice(ENDINGS)}", name)
        for name, said in OBJECTS.items()
        for _ in range(each)
    ]
    drawn.shuffle(pairs)
    return [text for text, _ in pairs], [name for _, name in pairs]
