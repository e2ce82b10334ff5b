#!/usr/bin/env python
"""Which command is small enough to be read in one breath?  ``./hello.py --name "Big John"`` greets him."""

import unicodedata

import click

NOT_TEXT = {"Cc", "Cs", "Zl", "Zp"}  # control characters, bytes that are not UTF-8, ends of lines and paragraphs


class Name(click.ParamType):
    """A name: one line of text that has something in it."""

    name = "name"

    def convert(self, value, param, ctx):
        """Take a name as it is, or refuse it."""
        if not value.strip():
            self.fail("got nothing, expected a name, such as Big John", param, ctx)
        wrong = [char for char in value if unicodedata.category(char) in NOT_TEXT]
        if wrong:
            self.fail(f"got the character {wrong[0]!a} in it, expected one line of text", param, ctx)
        return value


@click.command()
@click.option("--name", type=Name(), metavar="NAME", required=True, help="Whom to greet.")
def hello(name):
    """Greet somebody: --name "Big John"."""
    click.echo(f"Hello {name}!")


if __name__ == "__main__":
    hello.main()
