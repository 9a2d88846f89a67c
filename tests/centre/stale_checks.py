"""Two people at one form, asked of any page of any admin site: each field in turn is what the first one changes."""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.db import models
from django.utils.html import escape

from centre.models import User
from tests.centre.registry_checks import Sent, ask, context_of, form_as_sent, offered, sets_of, stored, undone


def changeable(shown: dict[str, Any]) -> dict[str, Any]:
    """The fields of what stands: of the record and of the rows below it; without the box that ends such a row."""
    new = {row.prefix for part in sets_of(shown) for row in [*part.formset.extra_forms, part.formset.empty_form]}
    fields = {name: field for name, field in offered(shown).items() if field.form.prefix not in new}
    return {name: field for name, field in fields.items() if not (field.form.prefix and is_box(field))}


def is_box(field: Any) -> bool:
    return isinstance(field.field, forms.BooleanField)


def others(field: Any) -> Iterator[Sent]:
    """What somebody could write instead of what stands in a field, one after the other."""
    kind, name, value = field.field, field.html_name, field.value()
    if is_box(field):
        yield {name: "" if value else "on"}
    elif isinstance(kind, forms.ModelChoiceField):
        yield from ({name: str(row.pk)} for row in field.field.queryset.exclude(pk=value)[:3])
    elif isinstance(kind, forms.ChoiceField):
        yield from ({name: str(key)} for key, _label in field.field.choices if str(key) not in {"", str(value)})
    elif isinstance(kind, forms.SplitDateTimeField):
        yield from ({f"{name}_0": f"{year}-05-01", f"{name}_1": "10:00:00"} for year in (2031, 2032, 2021, 2020))
    elif isinstance(kind, forms.DateField):
        stands = value if isinstance(value, date) else date(2031, 5, 1)
        yield from ({name: (stands + timedelta(days=days)).isoformat()} for days in (1, 2))
    elif str(value).replace(".", "").replace(",", "").isdigit():
        number = int(str(value).replace(",", "").partition(".")[0])
        yield from ({name: str(max(number + more, 0))} for more in (-1, -2, 1, 2))
    elif isinstance(kind, forms.EmailField):
        yield from ({name: f"{person}@example.org"} for person in ("harbour", "haven"))
    else:
        words = ("2345 6789", "3456 7890") if "phone" in name else ("Harbour", "Haven")
        yield from ({name: each} for each in words)


def stale_faults(page: ModelAdmin[Any], row: models.Model, first: User, second: User) -> list[str]:
    """Where the second of two people who edit the row is not told, loses what they typed, or undoes the first.

    Once the first changes every field but the last, in which the second types; once both write in every field. Both
    hold the same roles, so that they are shown the same form.
    """
    shown = context_of(ask(page, second, "change", row))
    own, fields = form_as_sent(shown), list(changeable(shown).values())
    faults: list[str] = []
    for changed, typed in ((fields[:-1] or fields, fields[1:][-1:]), (fields, fields)):
        done = written(page, row, first, own, changed, 0)
        sent = written(page, row, second, own, typed, 1)
        missing = [field.html_name for field in changed if not names_in(done, field)]
        if missing:
            faults.append(f"{page.opts.label_lower}: nothing else could be written in {missing}: mend this test")
            continue
        with undone():
            ask(page, first, "change", row, own | done)
            now = form_as_sent(context_of(ask(page, first, "change", row)))
            expected = {key: value for key, value in (now | sent).items() if key in {**done, **sent}}
            told = len({field.form.prefix or field.name for field in changed})
            found = list(second_of_two(page, row, (first, second), own | sent, expected, told))
        faults += [f"{page.opts.label_lower}: {fault}" for fault in found]
    return faults


def names_in(sent: Sent, field: Any) -> set[str]:
    return {field.html_name, f"{field.html_name}_0"} & sent.keys()


def written(page: ModelAdmin[Any], row: models.Model, user: User, own: Sent, fields: list[Any], which: int) -> Sent:
    """Something else in each of the fields, of which the page takes all together; where it can, the second that goes.

    At most one more question for each value that does not go with the others.
    """
    choices = {field.html_name: list(islice(others(field), 4)) for field in fields}
    at_once: Sent = {}
    for each in choices.values():
        at_once |= each[min(which, len(each) - 1)] if each else {}
    if could_save(page, row, user, own | at_once):
        return at_once
    found: Sent = {}
    for each in choices.values():
        tried = [*each[which:], *each[:which]]
        found |= next((sent for sent in tried if could_save(page, row, user, own | found | sent)), {})
    return found


def could_save(page: ModelAdmin[Any], row: models.Model, user: User, sent: Sent) -> bool:
    with undone():
        return bool(ask(page, user, "change", row, sent).status_code == 302)


def second_of_two(
    page: ModelAdmin[Any], row: models.Model, people: tuple[User, User], sent: Sent, expected: Sent, number: int
) -> Iterator[str]:
    """What is wrong with the answer to an earlier form: it tells of so many changes, and shows what is `expected`."""
    first, second = people
    with undone():
        shown = context_of(ask(page, first, "change", row))
        before = stored(all_rows(row, shown))
        response = ask(page, second, "change", row, sent)
        if response.status_code != 200:
            yield f"answered {response.status_code}"
            return
        told = getattr(context_of(response).get("answer"), "meanwhile", ())
        if [change.who for change in told] != [first.get_full_name()] * number:
            yield f"who changed what is told as {[(change.label, change.who) for change in told]}"
        content = response.render().content.decode()
        if not all(escape(text) in content for change in told for text in (change.label, change.after, change.who)):
            yield "what was changed is not on the page"
        again = form_as_sent(context_of(response))
        lost = {key: again.get(key) for key in expected if again.get(key) != expected[key]}
        if lost:
            yield f"instead of {expected} the form came back with {lost}"
        if stored(all_rows(row, shown)) != before:
            yield "what the first one saved was changed"
        if ask(page, second, "change", row, again).status_code != 302:
            yield "saving once more was refused"
        saved = form_as_sent(context_of(ask(page, second, "change", row)))
        if any(saved[key] != expected[key] for key in expected if key in saved):
            yield "after saving once more the two changes do not stand"


def all_rows(row: models.Model, shown: dict[str, Any]) -> list[models.Model]:
    return [row, *(below for part in sets_of(shown) for below in part.formset.queryset)]
