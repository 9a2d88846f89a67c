"""Two people who edit one record: the second is told what changed meanwhile, by whom and when, and loses nothing typed.

A form carries a signed snapshot of what it showed. When it is sent, the row is locked and compared with it. What is
different now was changed meanwhile: the form comes again with what was typed, a line for each change, and a snapshot of
how things stand now, so that sending it once more saves. A field that was not touched then shows what stands; otherwise
saving would put the old value back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.core import signing
from django.db import models
from django.forms.models import model_to_dict
from django.http import HttpRequest, QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from centre.admin.meanwhile import Below, Meanwhile, events_of, field_changed, row_changed
from centre.audit import plain_deep
from centre.models import User

SNAPSHOT: Final = "shown_values"
SALT: Final = "centre.admin.editing"

Values = dict[str, Any]  # field -> value, as JSON keeps it


@dataclass(frozen=True)
class Shown:
    """What a page shows of a row, and of the rows that belong to it: by set of rows, and number of the row."""

    of: str
    values: Values
    rows: dict[str, dict[str, Values]]

    def signed(self) -> str:
        """As a text that nobody but the portal can write."""
        return signing.dumps(vars(self), salt=SALT, compress=True)


@dataclass(frozen=True)
class Set:
    """A set of rows below a record that can be changed on its page."""

    prefix: str
    form: Any  # the class of their ModelForms
    rows: Sequence[models.Model]
    below: Below

    @property
    def fields(self) -> list[str]:
        """The fields of a row that the page shows to be changed."""
        return list(self.form.base_fields)


@dataclass
class Answer:
    """Why a form that was sent is shown again instead of being saved, and how things stand."""

    now: Shown | None
    meanwhile: Sequence[Meanwhile] = ()
    is_unreadable: bool = False
    refusal: str = ""

    @property
    def sentence(self) -> str | Promise:
        """Above the form; nothing where nothing speaks against saving. The changes stand in a list of their own."""
        if self.refusal:
            return self.refusal
        if self.is_unreadable:
            return _("Nothing is saved yet: this page is of an earlier time. Look at what stands, then save again.")
        return _("Nothing is saved yet: this was changed while you were editing it.") if self.meanwhile else ""


def answer_of(request: HttpRequest) -> Answer | None:
    """What comparing the sent form gave; None on a page that is only looked at."""
    answer = vars(request).get("answer_to_editing")
    return answer if isinstance(answer, Answer) else None


def keep_answer(request: HttpRequest, answer: Answer) -> None:
    vars(request)["answer_to_editing"] = answer


def name_of(row: models.Model) -> str:
    return f"{row._meta.label_lower} {row.pk}"


def plain_values(values: Mapping[str, Any], fields: Iterable[str]) -> Values:
    """Values as JSON keeps them, of these fields only, a row or number by its own text."""
    return {name: with_plain_lines(plain_deep(values[name])) for name in fields if name in values}


def with_plain_lines(value: Any) -> Any:
    """Browsers end lines in a way of their own; that is no change of a text."""
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def columns(row: models.Model, names: Iterable[str]) -> Values:
    """Columns that no form changes but verbs do; a foreign key by its number."""
    return {name: plain_deep(row.serializable_value(name)) for name in names}


def shown_on(form: forms.BaseForm, formsets: Iterable[Any], row: models.Model, also: Sequence[str]) -> Shown:
    """What a page that is looked at shows: all that it was made with, so that nothing is asked again."""
    return Shown(
        of=name_of(row),
        values={**plain_values(form.initial, form.fields), **columns(row, also)},
        rows={
            formset.prefix: {
                str(part.instance.pk): plain_values(part.initial, part.base_fields) for part in formset.initial_forms
            }
            for formset in formsets
        },
    )


def standing_now(form: forms.BaseForm, sets: Iterable[Set], row: models.Model, also: Sequence[str]) -> Shown:
    """The same of how things stand in the database."""
    return Shown(
        of=name_of(row),
        values={**plain_values(form.initial, form.fields), **columns(row, also)},
        rows={
            part.prefix: {
                str(below.pk): plain_values(model_to_dict(below, part.fields), part.fields) for below in part.rows
            }
            for part in sets
        },
    )


def read(text: str, row: models.Model) -> Shown | None:
    """What the form showed of this row; None where that cannot be read, or was shown of another row."""
    try:
        shown = Shown(**signing.loads(text, salt=SALT))
    except (signing.BadSignature, TypeError):
        return None
    return shown if shown.of == name_of(row) else None


def compare(
    request: HttpRequest,
    user: User,
    *,
    row: models.Model,
    form: type[forms.ModelForm[Any]],
    sets: Sequence[Set],
    also: Sequence[str],
) -> Answer:
    """Compare what was sent with what the form showed and with what stands; the row is locked.

    Fields of the sent form that were not touched are set to what stands, in `request.POST` itself. A form without a
    snapshot (not sent from its page) is compared with nothing.
    """
    fresh = form(instance=row)
    now = standing_now(fresh, sets, row, also)
    if SNAPSHOT not in request.POST:
        return Answer(now)
    shown = read(request.POST[SNAPSHOT], row)
    if shown is None:
        return Answer(now, is_unreadable=True)
    sent = request.POST.copy()
    events = events_of(row) if (shown.values, shown.rows) != (now.values, now.rows) else []
    found = [
        field_changed(row, events, name, shown.values[name], value, clashes=name in clashing)
        for clashing in [mended(sent, fresh, shown.values, now.values)]
        for name, value in now.values.items()
        if name in shown.values and shown.values[name] != value
    ]
    own_words_stand = not any(change.clashes for change in found)
    for part in sets:
        before, after = shown.rows.get(part.prefix, {}), now.rows[part.prefix]
        for number in dict.fromkeys([*before, *after]):
            if before.get(number) == after.get(number):
                continue
            clashing = mended_row(sent, part, number, before.get(number), after.get(number))
            own_words_stand = False
            found.append(
                row_changed(part.below, events, number, before.get(number), after.get(number), clashes=bool(clashing))
            )
    request.POST = sent  # type: ignore[assignment]  # Django's own setter takes what is as good
    if own_words_stand and all(change.is_by(user) for change in found):
        return Answer(now)  # the same person sent the form twice, or changed something else themself
    return Answer(now, meanwhile=found)


def mended(sent: QueryDict, form: Any, shown: Values, now: Values) -> set[str]:
    """Set what the person did not touch to what stands. The fields in which they typed something else than stands."""
    clashing = set()
    for name, field in form.fields.items():
        if name not in shown or shown[name] == now.get(name):
            continue
        key = form.add_prefix(name)
        typed = with_plain_lines(field.widget.value_from_datadict(sent, {}, key))
        column = form._meta.model._meta.get_field(name)
        if not field.has_changed(as_column_has_it(column, shown[name]), typed):
            sent.pop(key, None)
            for part, values in as_sent(field, key, form.initial.get(name)).items():
                sent.setlist(part, values)
        elif field.has_changed(as_column_has_it(column, now.get(name)), typed):
            clashing.add(name)
    return clashing


def mended_row(sent: QueryDict, part: Set, number: str, shown: Values | None, now: Values | None) -> set[str]:
    """The same for a row below; nothing to mend where the page did not show it, or where it is gone."""
    row = next((row for row in part.rows if str(row.pk) == number), None)
    prefix = next((key.removesuffix("-id") for key, value in sent.items() if is_number(key, part, value, number)), None)
    if row is None or prefix is None or shown is None or now is None:
        return set()
    form = part.form(prefix=prefix, instance=row)
    return mended(sent, form, shown, now)


def is_number(key: str, part: Set, value: Any, number: str) -> bool:
    return key.startswith(f"{part.prefix}-") and key.endswith("-id") and value == number


def as_column_has_it(column: Any, kept: Any) -> Any:
    """A value out of the snapshot as the model has it: a day, an instant, the number of a row."""
    return kept if kept is None or column.many_to_many else column.to_python(kept)


def as_sent(field: Any, key: str, value: Any) -> dict[str, list[str]]:
    """A value as a browser would send it from the field's own widget."""
    widget = field.widget
    value = field.prepare_value(value)
    if isinstance(widget, forms.CheckboxInput):
        return {key: ["on"]} if value else {}
    if hasattr(widget, "widgets_names"):  # a MultiWidget: day and time of day apart
        parts = zip(widget.widgets_names, widget.widgets, widget.decompress(value), strict=True)
        return {f"{key}{suffix}": [str(part.format_value(piece) or "")] for suffix, part, piece in parts}
    shown = widget.format_value(value)
    return {key: [str(item) for item in shown] if isinstance(shown, (list, tuple)) else [str(shown or "")]}


def held_back(form: type[forms.ModelForm[Any]], sentence: str | Promise) -> type[forms.ModelForm[Any]]:
    """The form, which checks everything as it always does, and then is not saved."""

    def _post_clean(self: Any) -> None:
        form._post_clean(self)  # type: ignore[attr-defined]  # Django's own step after all fields are clean
        self.add_error(None, str(sentence))

    return type(form.__name__, (form,), {"_post_clean": _post_clean})
