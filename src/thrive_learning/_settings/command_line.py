"""Splits the text of a secret command into its program and arguments. Pure.

No shell runs the command. Text with a special meaning to a shell is rejected, because the command would get
`|` and `> file` as arguments, and `echo` would print them as part of the secret.

Source: POSIX.1-2024, Shell Command Language, 2.2 "Quoting" and 2.3 "Token Recognition"; Microsoft's "Parsing
C command-line arguments".
"""

import re

# The special characters of a POSIX shell outside of quotation marks. `~` and `#` count only at the beginning
# of a word.
_POSIX_SHELL = frozenset("|&;<>()$`*?[\n")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_CMD_SHELL = frozenset("|&<>^\n")
_CMD_VARIABLE = re.compile(r"%[^%\s]+%")


def split_command(text: str, platform: str) -> tuple[str, ...] | str:
    """Return the words of a command without quotation marks, or what is wrong with it and what to do.

    Args:
        text: The text.
        platform: The platform as in `sys.platform`.
    """
    text = text.strip()
    words = _windows_words(text) if platform == "win32" else _posix_words(text)
    if isinstance(words, str):
        return words
    if not words or not words[0]:
        return "the command is empty. Set it"
    return tuple(words)


def _needs_shell(character: str, platform: str = "") -> str:
    shell = 'cmd /c "…"' if platform == "win32" else "sh -c '…'"
    return (
        f"the command contains {character!r}, which needs a shell, and the command runs without one. "
        f"Quote it, or run a shell with {shell}"
    )


def _posix_words(text: str) -> list[str] | str:  # noqa: C901, PLR0911, PLR0912 - the rules of one specification
    words: list[str] = []
    word: str | None = None  # None between words, because '' is a word too
    quote, position = "", 0
    while position < len(text):
        character = text[position]
        following = text[position + 1 : position + 2]
        position += 1
        if quote == "'" or (quote and character not in '"\\$`'):
            if character == quote:
                quote = ""
            else:
                word = (word or "") + character
        elif quote and character == '"':
            quote = ""
        elif character == "\\":
            if not following:
                return "the command ends with a backslash. Remove it"
            if quote and following not in '$`"\\\n':
                word = (word or "") + character
                continue
            if not quote and following.isalnum():
                return (
                    f"the backslash before {following!r} in the command would be lost. "
                    "Put the word in single quotation marks"
                )
            word = (word or "") + following.strip("\n")
            position += 1
        elif character in "$`":
            return _needs_shell(character)
        elif character in "'\"":
            quote, word = character, word or ""
        elif character in _POSIX_SHELL or (word is None and character in "~#"):
            return _needs_shell(character)
        elif character.isspace():
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + character
    if quote:
        return f"the command has no closing quotation mark {quote}. Add it"
    if word is not None:
        words.append(word)
    if words and _ASSIGNMENT.match(words[0]):
        return _needs_shell("=")
    return words


def _windows_words(text: str) -> list[str] | str:  # noqa: C901, PLR0912 - the rules of one specification
    if variable := _CMD_VARIABLE.search(text):
        return _needs_shell(variable[0], "win32")
    words: list[str] = []
    word: str | None = None
    is_quoted, position = False, 0
    while position < len(text):
        character = text[position]
        backslashes = len(text) - position - len(text[position:].lstrip("\\"))
        is_program = not words
        if backslashes:
            position += backslashes
            before_quote = text[position : position + 1] == '"' and not is_program
            word = (word or "") + "\\" * (backslashes // 2 if before_quote else backslashes)
            if before_quote and backslashes % 2:
                word += '"'
                position += 1
            continue
        position += 1
        if character == '"':
            word = word or ""
            if is_quoted and text[position : position + 1] == '"' and not is_program:
                word += '"'  # a doubled quotation mark inside quotation marks is literal
                position += 1
            else:
                is_quoted = not is_quoted
        elif is_quoted:
            word = (word or "") + character
        elif character in _CMD_SHELL:
            return _needs_shell(character, "win32")
        elif character in " \t":
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + character
    if is_quoted:
        return 'the command has no closing quotation mark ". Add it'
    return [*words, word] if word is not None else words
