"""A notation in words: what is remembered, what is saved and what is in focus."""

from lstmgen.derivation.formula import Style
from lstmgen.derivation.notation import Letter, Notation


def _word(word: str, index: str) -> Letter:
    return Letter(word, style=Style.UPRIGHT, index=index)


words = Notation(
    name="words",
    description="remember, save and focus vectors, long-term and working memory (after Chen 2017)",
    letters={
        "forget gate": _word("remember", "r"),
        "input gate": _word("save", "s"),
        "output gate": _word("focus", "f"),
        "candidate": _word("candidate", "c"),
        "cell state": _word("ltm", "l"),
        "hidden state": _word("wm", "w"),
        "update gate": _word("keep", "k"),
        "reset gate": _word("recall", "r"),
    },
    words={
        "forget gate": "remember vector",
        "input gate": "save vector",
        "output gate": "focus vector",
        "candidate": "candidate for long-term memory",
        "cell state": "long-term memory",
        "hidden state": "working memory",
        "update gate": "keep vector",
        "reset gate": "recall vector",
    },
)
