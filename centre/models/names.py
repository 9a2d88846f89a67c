"""Names in the three languages of the portal."""

from django.db import models
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _


class TrilingualName(models.Model):
    """A name in English and, where there is one, in both Chinese scripts; shown in the reader's language."""

    name_en = models.CharField(_("name in English"), max_length=200)
    name_zh_hant = models.CharField(_("name in Traditional Chinese"), max_length=200, blank=True)
    name_zh_hans = models.CharField(_("name in Simplified Chinese"), max_length=200, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """The name in the language of the page, else the nearest one that exists."""
        language = get_language() or "en"
        if language == "zh-hant":
            return self.name_zh_hant or self.name_zh_hans or self.name_en
        if language == "zh-hans":
            return self.name_zh_hans or self.name_zh_hant or self.name_en
        return self.name_en
