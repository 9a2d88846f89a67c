"""Amounts as officers write them: read exactly, and answered in the portal's words where they cannot be meant."""

import pytest
from django.core.exceptions import ValidationError

from centre.forms import DollarsField, GpuHoursField, PercentField, WrittenNumber

HOURS, DOLLARS, PERCENT = GpuHoursField(min_value=0), DollarsField(min_value=0), PercentField()


@pytest.mark.parametrize(
    ("field", "text", "kept"),
    [
        (HOURS, "1.25", 4_500),
        (HOURS, "12,000", 43_200_000),
        (DOLLARS, "12.50", 1_250),
        (DOLLARS, " 3,000,000 ", 300_000_000),
        (DOLLARS, "1\u202f234.5", 123_450),
        (DOLLARS, "３．５", 350),
        (PERCENT, "12.5", 1_250),
        (PERCENT, "0", 0),
        (PERCENT, "100", 10_000),
    ],
)
def test_number_is_kept_in_whole_parts_of_its_unit(field: WrittenNumber, text: str, kept: int) -> None:
    assert field.clean(text) == kept
    assert field.clean(str(field.prepare_value(kept))) == kept


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        (HOURS, "", "Say how many GPU-hours."),
        (HOURS, "-1", "Write a number of GPU-hours that is not below 0."),
        (DOLLARS, "", "Say how many HK$."),
        (DOLLARS, "12,5", "Write an amount of HK$ in digits, such as 3,000,000 or 12.50."),
        (DOLLARS, "NaN", "Write an amount of HK$ in digits, such as 3,000,000 or 12.50."),
        (DOLLARS, "-0.01", "Write an amount of HK$ that is not below 0."),
        (DOLLARS, "0.001", "Write HK$ with two decimals at most, such as 12.50."),
        (DOLLARS, "1e30", "This is more than a centre could spend. Check the amount of HK$."),
        (PERCENT, "most", "Write a share in digits, such as 70 or 12.5."),
        (PERCENT, "-1", "Write a share from 0 to 100 per cent."),
        (PERCENT, "100.01", "Write a share from 0 to 100 per cent."),
        (PERCENT, "1e999", "Write a share from 0 to 100 per cent."),
        (PERCENT, "33.333", "Write per cent with two decimals at most, such as 12.25."),
    ],
)
def test_number_that_cannot_be_meant_is_answered_with_what_to_write(
    field: WrittenNumber, text: str, sentence: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        field.clean(text)
    assert refused.value.messages == [sentence]
