# SPDX-License-Identifier: Apache-2.0
"""Finds the public calls of the API that name no requirement."""

import re

ID = re.compile(r"OMS-[A-Z]+-[0-9]{3}(?![0-9])")
CLASS = re.compile(r"(?:class|struct) (\w+)(?: final)?(?: : [^{;]*)?\s*\{?$")
CALL = re.compile(r"([A-Z]\w*)\s*\(")
# What is no call of its own: a constructor, a destructor, an operator, and a
# declaration that nobody makes from outside.
NO_CALL = re.compile(r"\boperator\b|~|= delete|\bfriend\b|\busing\b|\btypedef\b"
                     r"|^\s*(?:static_assert|return|if|for|while|switch)\b")


def calls_of(text):
    """Yields (class or "", name, documentation) of each public call."""
    outer = ""       # The class at column 0 that we are in.
    about_class = ""
    public = True
    comment = []     # Of the declaration to come, or of the group we are in.
    statement = ""
    hidden = 0       # Within a namespace that is nobody's business.
    for line in text.splitlines():
        if re.match(r"namespace internal\b", line):
            hidden += 1
        elif hidden and re.match(r"}  // namespace internal", line):
            hidden -= 1
        if hidden:
            continue
        stripped = line.strip()
        if not stripped:
            comment = []
            continue
        if stripped.startswith("//"):
            if statement:
                continue
            comment.append(stripped)
            continue
        found = CLASS.match(line)
        if found and not line.endswith(";"):
            outer, about_class = found.group(1), " ".join(comment)
            public = line.startswith("struct")
            comment = []
            continue
        if line.startswith("};"):
            outer = ""
            continue
        access = re.fullmatch(r" (public|protected|private):", line)
        if access:
            public = access.group(1) == "public"
            continue
        indent = len(line) - len(line.lstrip())
        if not statement and indent != (2 if outer else 0):
            continue
        statement = (statement + " " + stripped).strip()
        if not re.search(r"[;{}]", stripped):
            continue
        whole, statement = statement, ""
        name = CALL.search(whole.split("{")[0])
        if (not public or not name or NO_CALL.search(whole.split("{")[0])
                or name.group(1) == outer or whole.startswith("}")
                or whole[:name.start()].endswith("::")):
            continue
        yield outer, name.group(1), " ".join(comment) + " " + about_class


def unnamed_calls(folder):
    """Yields `header Class::Call` of each that names no requirement.

    One of several overloads, or of a declaration and its definition, is enough.
    """
    for path in sorted(folder.glob("*.h")):
        named = {}
        for owner, name, about in calls_of(path.read_text()):
            call = f"{path.name} {owner + '::' if owner else ''}{name}"
            named[call] = named.get(call, False) or bool(ID.search(about))
        yield from (call for call, is_named in named.items() if not is_named)
