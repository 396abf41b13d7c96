"""Text is escaped unless it is markup already."""

import pytest

from bayesgmm.reporting.html import Html, element, join, list_of, table, terms

NASTY = "<script>alert('x')</script> & \"q\""


@pytest.mark.parametrize(
    "markup",
    [
        element("p", NASTY),
        element("img", alt=NASTY),
        Html("<p>") + NASTY,
        join([NASTY, NASTY]),
        list_of([NASTY]),
        table([NASTY], [[NASTY]]),
        terms({NASTY: NASTY}),
    ],
)
def test_users_text_is_escaped(markup):
    assert isinstance(markup, Html)
    assert "<script" not in markup
    assert "&lt;script&gt;" in markup


def test_markup_is_escaped_once():
    assert element("p", element("b", "a & b")) == "<p><b>a &amp; b</b></p>"


def test_a_table_tells_labels_from_numbers():
    markup = table(["name", "value", "note"], [["a", "1", "x"]], labels=(0, 2))
    assert '<th class="label" scope="row">a</th>' in markup
    assert '<td class="number">1</td><td class="label">x</td>' in markup


def test_an_empty_list_is_nothing():
    assert list_of([]) == ""
