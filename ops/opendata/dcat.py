"""The catalogue for other catalogues: DCAT-AP 3 as JSON-LD (K7).

DCAT-AP's mandatory properties are title, description and publisher of a catalogue, title and description of a data set,
the access URL of a distribution, title and endpoint of a service; codes of its vocabularies are the EU's (Publications Office).
Each set has three distributions that are files, with licence and download URL, and one that is the API's, page by page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ops.opendata.files import FORMATS
from ops.opendata.listing import time_of
from ops.opendata.terms import Terms
from streams.flows.opendata.catalogue import LISTED, PUBLISHERS, Dataset, Part

_EU = "http://publications.europa.eu/resource/authority"
_SCHEME = f"{_EU}/data-theme"
_PORTAL = "base"
_THEMES = {
    "企业服务": "ECON",
    "信用服务": "GOVE",
    "公共安全": "JUST",
    "医疗卫生": "HEAL",
    "城市建设": "REGI",
    "教育科技": "EDUC",
    "文化旅游": "EDUC",
    "机构团体": "GOVE",
    "民生服务": "SOCI",
    "社会保障": "SOCI",
    "经济": "ECON",
    "资源环境": "ENVI",
    "道路交通": "TRAN",
    "食品药品": "HEAL",
}
_LABELS = {
    "ECON": "Economy and finance",
    "EDUC": "Education, culture and sport",
    "ENVI": "Environment",
    "GOVE": "Government and public sector",
    "HEAL": "Health",
    "JUST": "Justice, legal system and public safety",
    "REGI": "Regions and cities",
    "SOCI": "Population and society",
    "TRAN": "Transport",
}
_CONTEXT = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
_FILE_TYPES = {"csv": "CSV", "json": "JSON", "parquet": "PARQUET"}
Describe = Callable[[Dataset | Part], str]


def catalogue(url: str, states: Mapping[str, Mapping[str, Any]], terms: Terms, describe: Describe) -> dict[str, Any]:
    """The whole catalogue. `url` is the API's own, without a slash; `states` are the sets' rows of `open.profile` by code."""
    agencies = sorted({_PORTAL, *(listed.agency for listed in LISTED.values())})
    return {
        "@context": _CONTEXT,
        "@graph": [
            {
                "@id": f"{url}/catalogue.jsonld",
                "@type": "dcat:Catalog",
                "dct:title": _zh("广州市政府数据统一开放目录"),
                "dct:description": _zh(f"广州市各部门开放数据集目录, 共 {len(LISTED)} 个数据集"),
                "dct:publisher": {"@id": _agent(url, _PORTAL)},
                "dct:language": _code("language/ZHO", "dct:LinguisticSystem"),
                "dct:license": {"@id": terms.licence.url},
                "foaf:homepage": {"@id": f"{url}/portal/datasets", "@type": "foaf:Document"},
                "dcat:themeTaxonomy": {"@id": _SCHEME},
                "dcat:service": {"@id": f"{url}/"},
                "dcat:dataset": [{"@id": f"{url}/datasets/{code}"} for code in LISTED],
            },
            {
                "@id": f"{url}/",
                "@type": "dcat:DataService",
                "dct:title": _zh("开放数据查询接口"),
                "dcat:endpointURL": {"@id": f"{url}/", "@type": "rdfs:Resource"},
                "dcat:endpointDescription": {"@id": f"{url}/openapi.json", "@type": "rdfs:Resource"},
                "dct:license": {"@id": terms.licence.url},
                "dcat:contactPoint": {"@id": f"{url}/portal/api#contact"},
                "dcat:servesDataset": [{"@id": f"{url}/datasets/{code}"} for code in LISTED],
            },
            {"@id": _SCHEME, "@type": "skos:ConceptScheme", "dct:title": _text("Data theme", "en")},
            *(
                {
                    "@id": f"{_SCHEME}/{code}",
                    "@type": "skos:Concept",
                    "skos:prefLabel": _text(label, "en"),
                    "skos:inScheme": {"@id": _SCHEME},
                }
                for code, label in _LABELS.items()
            ),
            _licence(terms),
            _contact(url, terms),
            *(
                {"@id": _agent(url, code), "@type": "foaf:Agent", "foaf:name": _zh(PUBLISHERS[code].name)}
                for code in agencies
            ),
            *(_dataset(url, listed, states.get(code), terms, describe) for code, listed in LISTED.items()),
        ],
    }


def _licence(terms: Terms) -> dict[str, Any]:
    told = {"@id": terms.licence.url, "@type": "dct:LicenseDocument", "dct:title": _zh(terms.licence.name)}
    return {
        **told,
        **({"skos:exactMatch": {"@id": f"{_EU}/licence/{terms.licence.code}"}} if terms.licence.code else {}),
    }


def _contact(url: str, terms: Terms) -> dict[str, Any]:
    kind = {"tel": "vcard:hasTelephone", "mailto": "vcard:hasEmail"}.get(
        terms.contact.address.partition(":")[0], "vcard:hasURL"
    )
    return {
        "@id": f"{url}/portal/api#contact",
        "@type": "vcard:Organization",
        "vcard:fn": terms.contact.name,
        kind: {"@id": terms.contact.address},
    }


def _dataset(
    url: str, listed: Dataset | Part, state: Mapping[str, Any] | None, terms: Terms, describe: Describe
) -> dict[str, Any]:
    place = f"{url}/datasets/{listed.dataset}"
    described = {
        "@id": place,
        "@type": "dcat:Dataset",
        "dct:identifier": listed.dataset,
        "dct:title": _zh(listed.title),
        "dct:description": _zh(describe(listed)),
        "dct:publisher": {"@id": _agent(url, listed.agency)},
        "dcat:contactPoint": {"@id": f"{url}/portal/api#contact"},
        "dcat:landingPage": {"@id": f"{url}/portal/datasets/{listed.dataset}", "@type": "foaf:Document"},
        "dcat:keyword": _zh(listed.theme),
        "dcat:theme": {"@id": f"{_SCHEME}/{_THEMES[listed.theme]}"},
        "dct:accessRights": _code("access-right/PUBLIC", "dct:RightsStatement"),
        "dct:accrualPeriodicity": _code(f"frequency/{_frequency(listed.whole.refresh_seconds)}", "dct:Frequency"),
        "dcat:distribution": [
            *(_file(place, listed, name, media, terms) for name, (media, _) in FORMATS.items()),
            {
                "@id": f"{place}#rows",
                "@type": "dcat:Distribution",
                "dct:title": _zh(f"{listed.title} (接口)"),
                "dct:description": _zh("按页提供、可筛选的全部记录"),
                "dcat:accessURL": {"@id": f"{place}/rows", "@type": "rdfs:Resource"},
                "dcat:accessService": {"@id": f"{url}/"},
                "dct:license": {"@id": terms.licence.url},
            },
        ],
    }
    if listed.whole is not listed:
        described["dct:isPartOf"] = {"@id": f"{url}/datasets/{listed.whole.dataset}"}
    if state is not None:
        described["dct:modified"] = {"@value": time_of(state["last_change"]), "@type": "xsd:dateTime"}
    return described


def _file(place: str, listed: Dataset | Part, name: str, media: str, terms: Terms) -> dict[str, Any]:
    address = {"@id": f"{place}/download?format={name}", "@type": "rdfs:Resource"}
    return {
        "@id": f"{place}#{name}",
        "@type": "dcat:Distribution",
        "dct:title": _zh(f"{listed.title} ({name.upper()})"),
        "dct:description": _zh("全部记录的文件"),
        "dcat:accessURL": address,
        "dcat:downloadURL": address,
        "dct:license": {"@id": terms.licence.url},
        "dcat:mediaType": {"@id": f"http://www.iana.org/assignments/media-types/{media}", "@type": "dct:MediaType"},
        "dct:format": _code(f"file-type/{_FILE_TYPES[name]}", "dct:MediaTypeOrExtent"),
    }


def _frequency(refresh_seconds: int) -> str:
    """The EU's word for how often a set is refreshed."""
    steps = (
        (60, "UPDATE_CONT"),
        (3_600, "HOURLY"),
        (86_400, "DAILY"),
        (7 * 86_400, "WEEKLY"),
        (31 * 86_400, "MONTHLY"),
    )
    return next((word for seconds, word in steps if refresh_seconds <= seconds), "OTHER")


def _agent(url: str, code: str) -> str:
    return f"{url}/datasets?department={code}"


def _code(path: str, kind: str) -> dict[str, str]:
    return {"@id": f"{_EU}/{path}", "@type": kind}


def _zh(text: str) -> dict[str, str]:
    return _text(text, "zh")


def _text(text: str, language: str) -> dict[str, str]:
    return {"@value": text, "@language": language}
