"""Patient ids of the command line as they are typed; in Hydra's grammar 1_000 is the number 1000, true no text."""

import re
from collections.abc import Sequence

_SPLIT = re.compile(r"\+{0,2}data\.split\.(train|val|test)=")
_LIST = re.compile(r"\[([^\[\]]*)\]")
_ELEMENT = re.compile(r"""'[^']*'|"[^"]*"|[^,'"]+""")


def quoted_ids(arguments: Sequence[str]) -> list[str]:
    """Arguments for Hydra in which every id in a list of data.split is in quotes; one with ${ stays as it is."""
    return [
        _LIST.sub(lambda found: f"[{_ELEMENT.sub(_quoted, found[1])}]", argument)
        if _SPLIT.match(argument) and "${" not in argument
        else argument
        for argument in arguments
    ]


def _quoted(element: re.Match[str]) -> str:
    text = element[0].strip()
    return text if not text or text[0] in "'\"" else f"'{text}'"
