"""The page of usage without an allocation: whose runs wait, why, and what an officer can do about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations.models import UsageImport
from allocations.unmatched import Name, Taker, Waiting, Way, accounts_waiting, lines_of
from centre.admin.kept import ActLink
from centre.models import Cluster, PoolMapping, User
from centre.templatetags.portal import grouped

MAY_LOOK = "allocations.view_jobrun"
MAY_OPEN = "allocations.add_allocation"
MAY_LET_DRAW = "allocations.change_allocation"
MAY_MAP = "centre.add_poolmapping"
ACCOUNTS_PER_PAGE = 25
SHOWN_USERS = 3
SHOWN_ALLOCATIONS = 2


class SearchForm(forms.Form):
    """Which accounts to show."""

    q = forms.CharField(label=_("Slurm account"), max_length=128, required=False)
    cluster = forms.ModelChoiceField(
        label=_("Cluster"), queryset=Cluster.objects.order_by("code"), required=False, empty_label=_("All")
    )


@dataclass(frozen=True)
class Part:
    """Why something waits, as a sentence, and what this person may do about it."""

    why: str
    acts: Sequence[ActLink]


@dataclass(frozen=True)
class Line:
    """What waits of an account, as the page shows it."""

    waiting: Waiting
    users: str
    parts: Sequence[Part]
    runs_url: str

    @property
    def gpus(self) -> str:
        """The pools that the GPUs belong to; what they go by where there is none."""
        pools = [way.pool.code for way in self.waiting.ways]
        return ", ".join(pools or [name.name for name in self.waiting.names])


def unmatched_page(request: HttpRequest, page: ModelAdmin[Any]) -> HttpResponse:
    """A page of accounts, those with the most GPU time first."""
    if not request.user.has_perm(MAY_LOOK):
        raise PermissionDenied
    search = SearchForm(request.GET or None)
    given = search.cleaned_data if search.is_valid() else {}
    accounts = accounts_waiting(search=given.get("q", ""), cluster=given.get("cluster"))
    shown = Paginator(accounts, ACCOUNTS_PER_PAGE).get_page(request.GET.get("page"))
    waiting = lines_of((row.cluster, row.account) for row in shown)
    as_of = UsageImport.objects.latest_as_of()
    clusters = sorted({line.cluster for line in waiting}, key=lambda cluster: cluster.code)
    rest = request.GET.copy()
    rest.pop("page", None)
    context = {
        **page.admin_site.each_context(request),
        "title": _("Usage without an allocation"),
        "lines": [line_of(line, request.user) for line in waiting],
        "runs": sum(row.runs for row in accounts),
        "seconds": sum(row.seconds for row in accounts),
        "as_of": [(cluster, as_of[cluster.pk]) for cluster in clusters if cluster.pk in as_of],
        "shown": shown,
        "rest": f"{rest.urlencode()}&" if rest else "",
        "search": search,
        "is_filtered": bool(given.get("q") or given.get("cluster")),
    }
    request.current_app = page.admin_site.name  # read by the {% url %} tag
    return TemplateResponse(request, "admin/allocations/unmatched.html", context)


def line_of(waiting: Waiting, user: Any) -> Line:
    return Line(
        waiting=waiting,
        users=users_of(waiting),
        parts=[*(part_without_pool(name, waiting, user) for name in waiting.without_pool), *parts_of(waiting, user)],
        runs_url=f"{reverse('admin:allocations_jobrun_changelist')}?"
        + urlencode({"q": waiting.account, "progress": "unmatched"}),
    )


def users_of(waiting: Waiting) -> str:
    """The users with the most GPU time, and how many more there are."""
    names = [name or gettext("unknown") for name, _seconds in waiting.by_user.most_common(SHOWN_USERS)]
    more = len(waiting.by_user) - len(names)
    if more <= 0:
        return ", ".join(names)
    return ngettext("%(names)s and %(more)s more", "%(names)s and %(more)s more", more) % {
        "names": ", ".join(names),
        "more": grouped(more, 0),
    }


def part_without_pool(name: Name, waiting: Waiting, user: User) -> Part:
    said = {"name": name.name.removeprefix("gres/gpu:")}
    some_days = any(way for way in waiting.ways)
    if name.kind == PoolMapping.Kind.TRES:
        why = gettext("No GPU pool is mapped for the GPU type “%(name)s” on some of these days.")
        why = why if some_days else gettext("No GPU pool is mapped for the GPU type “%(name)s”.")
    else:
        why = gettext("No GPU pool is mapped for the partition “%(name)s” on some of these days.")
        why = why if some_days else gettext("No GPU pool is mapped for the partition “%(name)s”.")
    if user.has_perm(MAY_MAP):
        link = ActLink(_("Map it to a GPU pool"), reverse("admin:centre_gpupool_changelist"))
        return Part(why % said, [link])
    return Part(why % said + " " + gettext("An administrator maps it on the page of the pool."), [])


def parts_of(waiting: Waiting, user: User) -> Iterator[Part]:
    for way in waiting.ways:
        yield Part(why_it_waits(waiting, way), list(acts_of(waiting, way, user)))


def why_it_waits(waiting: Waiting, way: Way) -> str:
    said = {"account": waiting.account, "pool": way.pool.code}
    if not way.others:
        return gettext("No allocation covers %(account)s on %(pool)s.") % said
    return gettext("%(account)s is covered on %(pool)s on other days only: %(others)s.") % {
        **said,
        "others": covers_in_words(way.others),
    }


def covers_in_words(takers: Sequence[Taker]) -> str:
    """The latest allocations that take the account, each with its days."""
    shown = [
        gettext("%(reference)s (%(first)s – %(last)s)")
        % {
            "reference": taker.reference,
            "first": date_format(taker.days.first, "SHORT_DATE_FORMAT"),
            "last": date_format(taker.days.last, "SHORT_DATE_FORMAT"),
        }
        for taker in takers[-SHOWN_ALLOCATIONS:]
    ]
    return ", ".join(shown)


def acts_of(waiting: Waiting, way: Way, user: User) -> Iterator[ActLink]:
    """The ways out, filled in with what is known."""
    known: dict[str, Any] = {"pool": way.pool.pk, "account": waiting.account}
    if user.has_perm(MAY_OPEN):
        opening = {**known, "start_on": way.from_on, "end_on": way.until_on, "project": way.project}
        yield ActLink(_("Open an allocation"), f"{reverse('admin:allocations_allocation_add')}?{address(opening)}")
    if user.has_perm(MAY_LET_DRAW):
        drawing = {**known, "from_on": way.from_on, "until_on": way.until_on}
        url = reverse("admin:allocations_drawingaccount_add")
        yield ActLink(_("Let it draw on an allocation"), f"{url}?{address(drawing)}")


def address(known: dict[str, Any]) -> str:
    return urlencode({name: value for name, value in known.items() if value is not None})
