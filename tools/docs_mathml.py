"""A Python-Markdown extension: formulas become MathML while pages are built, so that
they need no script, no font and no network to be read."""

import html
import re
from typing import Any

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.postprocessors import Postprocessor


# What pymdownx.arithmatex makes of $...$ and $$...$$ in its generic mode.
_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', flags=re.DOTALL
)

# The converter puts what a limit is taken over beside the word, as in running text.
_LIMIT = re.compile(
    r"<msub>(<mo>(?:lim|max|min)</mo><mrow>(?:(?!</?mrow>).)*</mrow>)</msub>"
)

# Characters that LaTeX has commands for; as they stand they'd be taken for variables.
_COMMANDS = {
    "½": r"\tfrac{1}{2}",
    "‖": r"\Vert ",
    "²": "^2",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "⊤": r"\top ",
    "∞": r"\infty ",
    "±": r"\pm ",
    "→": r"\to ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "·": r"\cdot ",
    "−": "-",
    "Σ": r"\Sigma ",
    r"\arg": r"\mathrm{arg}\,",
    r"\!": "",
}


def mathml(formula: str, *, display: bool) -> str:
    """A LaTeX formula as a MathML element."""
    for character, command in _COMMANDS.items():
        formula = formula.replace(character, command)
    element = convert(formula, display="block" if display else "inline")
    # By MathML's dictionary a bar stands between two operands, with space around it.
    element = element.replace(
        '<mo stretchy="false">&#x0007C;</mo>',
        '<mo stretchy="false" lspace="0" rspace="0">&#x0007C;</mo>',
    )
    return _LIMIT.sub(r"<munder>\1</munder>", element) if display else element


class _Formulas(Postprocessor):
    def run(self, text: str) -> str:
        return _FORMULA.sub(
            lambda found: mathml(html.unescape(found[2]), display=found[1] == "div"),
            text,
        )


class MathML(Extension):
    """Goes after `pymdownx.arithmatex` with `generic: true`."""

    def extendMarkdown(self, md: Markdown) -> None:
        # After raw HTML is back in its place (30), where arithmatex keeps its blocks.
        md.postprocessors.register(_Formulas(md), "mathml", 5)


def makeExtension(**kwargs: Any) -> MathML:
    return MathML(**kwargs)
