"""Published experiments as files, run by a command, their results stored."""

from ._catalog import (
    find_experiment as find_experiment,
    list_experiments as list_experiments,
    result_file as result_file,
    stored_result as stored_result,
)
from ._experiment import Experiment as Experiment
from ._report import (
    cost_text as cost_text,
    list_rows as list_rows,
    range_text as range_text,
    report_markdown as report_markdown,
    Result as Result,
    section_lines as section_lines,
    summary as summary,
    time_text as time_text,
    value_text as value_text,
)
from ._training import recipe_key as recipe_key
from ._verdict import judge as judge, overall as overall, Verdict as Verdict
