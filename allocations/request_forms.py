"""What a team fills in to ask the centre for something. Each form gives what `requests.ask` is told.

Allocations are chosen by cards that are read already: only this project's can be chosen, and a forged one is refused.
What depends on the books (is so much left, is that day later) is the verb's to say: a form that is sent twice is
recognised there, when its own first sending has changed the books.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.forecast_words import CardWords
from allocations.models import Allocation, ChangeRequest
from allocations.posting import TAKES_DECISIONS
from allocations.quota import Card
from centre.days import validate_day
from centre.forms import GpuHoursField, TextField
from centre.templatetags.portal import gpu_hours

Kind = ChangeRequest.Kind
NONE_ASKED = {"min_value": _("Ask for more than 0 GPU-hours.")}
MOST_LETTERS = 500
MOST_LETTERS_OF_FREE_TEXT = 2_000


def fresh_key() -> str:
    """One for each form that is shown."""
    return uuid4().hex


class AllocationField(forms.ChoiceField):
    """One of the allocations that are given, each with what is left of it and how it goes on."""

    default_error_messages = {
        "required": _("Choose an allocation."),
        "invalid_choice": _("Choose one of this project’s allocations."),
    }

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", forms.RadioSelect)
        super().__init__(**options)
        self.rows: dict[str, Allocation] = {}

    def offer(self, cards: Sequence[Card]) -> None:
        """Offer the allocations of these cards; a single one is chosen already."""
        self.rows = {str(card.allocation.pk): card.allocation for card in cards}
        self.choices = [(str(card.allocation.pk), described(card)) for card in cards]
        if len(cards) == 1:
            self.initial = str(cards[0].allocation.pk)

    def clean(self, value: Any) -> Any:
        """The row that was chosen."""
        return self.rows.get(super().clean(value))


def described(card: Card) -> str:
    """An allocation with the figures that help to choose."""
    allocation = card.allocation
    return gettext("%(reference)s (%(model)s): %(left)s GPU-hours left. %(outlook)s") % {
        "reference": allocation.reference,
        "model": allocation.pool.gpu_model,
        "left": gpu_hours(allocation.available_seconds),
        "outlook": outlook(card),
    }


def outlook(card: Card) -> str:
    """When it runs out or ends, as a sentence."""
    ends = date_format(card.allocation.end_on, "DATE_FORMAT")
    if card.is_over:
        return gettext("Its period ended on %(day)s.") % {"day": ends}
    words = CardWords(card).short
    return words if ends in words else f"{words} " + gettext("Last day: %(day)s.") % {"day": ends}


class AskingForm(forms.Form):
    """What every request has: a word of why, and the key of the form."""

    reason = TextField(
        label=_("Why"),
        max_length=MOST_LETTERS,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("A word of why; whoever answers reads it."),
        error_messages={"required": _("Say why, in a few words.")},
    )
    key = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, cards: Sequence[Card], **options: Any) -> None:
        super().__init__(*args, **options)
        self.offer(cards)

    def offer(self, cards: Sequence[Card]) -> None:
        """Fill in which allocations can be chosen."""

    def clean_key(self) -> str:
        """A key that no form was shown with is no way to meet another request's: it gets one of its own."""
        try:
            return UUID(self.cleaned_data["key"]).hex
        except ValueError:
            return fresh_key()


class TopUpForm(AskingForm):
    allocation = AllocationField(label=_("Allocation"))
    seconds = GpuHoursField(
        label=_("GPU-hours"),
        min_value=0,
        help_text=_("How many more than there are now. The centre may give a part."),
        error_messages=NONE_ASKED,
    )
    field_order = ("allocation", "seconds", "reason")

    def offer(self, cards: Sequence[Card]) -> None:
        self.fields["allocation"].offer(can_be_given(cards))  # type: ignore[attr-defined]

    def clean_seconds(self) -> int:
        return more_than_none(self.cleaned_data["seconds"])


class ExtensionForm(AskingForm):
    allocation = AllocationField(label=_("Allocation"))
    until_on = forms.DateField(
        label=_("New last day"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        validators=[validate_day],
        help_text=_("The last day on which jobs may run; it is included. The centre may give an earlier one."),
        error_messages={
            "required": _("Say until which day the period should last."),
            "invalid": _("There is no such day in the calendar. Write it like 2026-01-31."),
        },
    )
    field_order = ("allocation", "until_on", "reason")

    def offer(self, cards: Sequence[Card]) -> None:
        self.fields["allocation"].offer(can_be_longer(cards))  # type: ignore[attr-defined]


class TransferForm(AskingForm):
    allocation = AllocationField(label=_("From"))
    to_allocation = AllocationField(label=_("To"))
    seconds = GpuHoursField(
        label=_("GPU-hours"),
        min_value=0,
        help_text=_("At most what is left. They are set aside until the centre answers."),
        error_messages=NONE_ASKED,
    )
    field_order = ("allocation", "to_allocation", "seconds", "reason")

    def offer(self, cards: Sequence[Card]) -> None:
        """With two allocations it is clear which one is which, and neither is chosen beforehand."""
        pairs = can_be_moved(cards)
        self.fields["allocation"].offer(pairs)  # type: ignore[attr-defined]
        self.fields["to_allocation"].offer([card for card in pairs if not card.is_over])  # type: ignore[attr-defined]

    def clean_seconds(self) -> int:
        return more_than_none(self.cleaned_data["seconds"])


class FreeForm(AskingForm):
    """What moves no hours is asked in words."""

    reason = TextField(
        label=_("What do you need, and why?"),
        max_length=MOST_LETTERS_OF_FREE_TEXT,
        widget=forms.Textarea(attrs={"rows": 6}),
        error_messages={"required": _("Say what you need.")},
    )


FORMS: Mapping[ChangeRequest.Kind, type[AskingForm]] = MappingProxyType(
    {
        Kind.TOP_UP: TopUpForm,
        Kind.EXTENSION: ExtensionForm,
        Kind.TRANSFER: TransferForm,
        Kind.MEMBERS: FreeForm,
        Kind.OTHER: FreeForm,
    }
)
"""What can be asked, in the order in which it is offered."""


def more_than_none(seconds: int) -> int:
    if seconds <= 0:
        raise ValidationError(gettext("Ask for more than 0 GPU-hours."))
    return seconds


def can_be_given(cards: Sequence[Card]) -> list[Card]:
    """Allocations that take more hours and have days left to use them."""
    return [card for card in can_be_longer(cards) if not card.is_over]


def can_be_longer(cards: Sequence[Card]) -> list[Card]:
    """Allocations whose period is not closed, be it over or not."""
    return [card for card in cards if card.allocation.state in TAKES_DECISIONS]


def can_be_moved(cards: Sequence[Card]) -> list[Card]:
    """Allocations with another one on the same pool, so that hours can move between them."""
    found = can_be_longer(cards)
    pools = [card.allocation.pool_id for card in found]
    return [card for card in found if pools.count(card.allocation.pool_id) > 1]


def can_be_asked(kind: ChangeRequest.Kind, cards: Sequence[Card]) -> bool:
    """Whether a request of this kind makes sense for a project with these allocations."""
    match kind:
        case Kind.TOP_UP:
            return bool(can_be_given(cards))
        case Kind.EXTENSION:
            return bool(can_be_longer(cards))
        case Kind.TRANSFER:
            return any(not card.is_over for card in can_be_moved(cards))
    return True
