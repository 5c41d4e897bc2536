"""City statistics (城市运行统计): a real-time reflection of the city's state (HANDBOOK §1.1 item 6, §4 L).

| kind              | subject                                                   | fold            |
|-------------------|-----------------------------------------------------------|-----------------|
| `person`          | a person of the base archive                               | person.py       |
| `organisation`    | an organisation of the base archive                        | organisation.py |
| `birth`, `marriage` | an entry of those registers                              | event.py        |
| `stock`           | one cell: scheme, statistic, region, group; all months      | series.py       |
| `flow`            | one cell of one year: scheme, statistic, region, group, year | series.py      |

Persons contribute one by one to the cells, as counts; so a cell's subject holds sums and no person.
"""

from __future__ import annotations

from streams.flows.statistics.event import BIRTH, MARRIAGE, birth, marriage
from streams.flows.statistics.organisation import ORGANISATION, organisation
from streams.flows.statistics.person import PERSON, person
from streams.flows.statistics.place import QUEUE
from streams.flows.statistics.series import STATISTIC, flow, stock
from streams.operators.flow import Flow, Fold, Input

FLOW = Flow(
    name="statistics",
    inputs=[
        Input(
            feed=PERSON,
            subjects=lambda row: [f"person:{row['id_type']}|{row['id_no']}"],
            columns=(
                "sex",
                "birth_date",
                "life_status",
                "death_date",
                "hukou_region",
                "residence_region",
                "region_as_of",
            ),
            written="base_version",
            keeps_history=True,
        ),
        Input(
            feed=ORGANISATION,
            subjects=lambda row: [f"organisation:{row['organisation_id']}"],
            columns=("kind", "industry", "reg_region", "region_as_of", "established", "status", "status_timeline"),
            written="base_version",
            keeps_history=True,
        ),
        Input(
            feed=BIRTH,
            subjects=lambda row: [f"birth:{row['cert_no']}"],
            columns=("sex", "born_at", "birth_region"),
        ),
        Input(
            feed=MARRIAGE,
            subjects=lambda row: [f"marriage:{row['marriage_no']}"],
            columns=("kind", "registered_date", "registry"),
        ),
    ],
    folds={
        "person": Fold(person),
        "organisation": Fold(organisation),
        "birth": Fold(birth),
        "marriage": Fold(marriage),
        "stock": Fold(stock, at_tick=True),
        "flow": Fold(flow, at_tick=True),
    },
    outputs={STATISTIC: ["statistic", "region_scheme", "region", "period", "group"], QUEUE: ["conflict_id"]},
    queue=QUEUE,
)
