"""Names of synthetic people, streets and firms, put together from small tables."""

from __future__ import annotations

from random import Random

SURNAMES = "陈林黄张李王吴刘蔡杨许郑谢郭洪邱曾廖赖徐周叶苏庄江吕何罗高萧潘简朱钟彭游詹胡施沈余卢梁颜柯翁魏孙戴范宋方邓杜傅侯曹马"
_DOUBLE = ("欧阳", "司徒", "上官", "诸葛")
_MALE = "志家文建国明俊伟强军平东辉永健世华海涛浩宇泽凯鹏飞龙德荣昌维嘉豪杰锋铭轩毅超勇刚"
_FEMALE = "淑美丽雅惠秀玉芬芳玲燕红霞娟敏静婷婉慧琳莉萍嘉怡诗琪欣妍晓雯倩梦洁月珍珠兰凤英"
_RARE = ("㛃", "䶮", "龘", "𠮷", "𬭎", "犇", "喆", "堃", "翀", "\ue863")
"""Characters that break careless systems: extension A and B, seldom installed ones, and one of the private-use area."""

REGIONS = {
    "440103": "荔湾",
    "440104": "越秀",
    "440105": "海珠",
    "440106": "天河",
    "440111": "白云",
    "440112": "黄埔",
    "440113": "番禺",
    "440114": "花都",
    "440115": "南沙",
    "440117": "从化",
    "440118": "增城",
}
"""The eleven districts (区) since 2014, GB/T 2260."""
REGION_CODES = tuple(REGIONS)
_REGION_WEIGHTS = (6, 7, 10, 11, 16, 7, 11, 7, 5, 4, 8)
CENTRES = {
    "440103": (113.24, 23.12),
    "440104": (113.27, 23.13),
    "440105": (113.31, 23.09),
    "440106": (113.36, 23.13),
    "440111": (113.27, 23.22),
    "440112": (113.47, 23.11),
    "440113": (113.38, 22.94),
    "440114": (113.22, 23.40),
    "440115": (113.53, 22.79),
    "440117": (113.59, 23.55),
    "440118": (113.81, 23.27),
}
"""Longitude and latitude (CGCS2000, degrees) near the middle of each district."""

_STREETS = (
    "东风",
    "中山",
    "解放",
    "人民",
    "环市",
    "新港",
    "天河",
    "黄埔",
    "广州",
    "花城",
    "江南",
    "滨江",
    "沿江",
    "龙口",
    "华夏",
    "体育",
)
_KINDS = ("路", "大道", "街", "巷", "东路", "西路", "南路", "北路", "中路")
_BRANDS_1 = "粤穗华新恒宏盛广汇鑫金天海南信诚德隆丰润泰康中联云"
_BRANDS_2 = "达源发昌通利和安业创科品尚峰诺宝兴茂腾飞邦世佳成"
TRADES = {
    "F51": ("贸易", "批发、零售日用百货、服装、建材"),
    "I65": ("信息科技", "软件开发、信息系统集成、技术咨询"),
    "H62": ("餐饮", "餐饮服务、食品销售"),
    "E47": ("建筑工程", "房屋建筑工程施工、装修装饰"),
    "C18": ("服装", "服装、鞋帽、皮具制造与销售"),
    "K70": ("房地产", "房地产开发、物业管理、房屋租赁"),
    "Q83": ("医药", "药品、医疗器械销售，健康咨询"),
    "G54": ("物流", "道路货物运输、仓储、装卸搬运"),
}
"""Industry code (GB/T 4754) to trade word and business scope (经营范围)."""
TRADE_CODES = tuple(TRADES)


def surname(rng: Random) -> str:
    """A family name; one in a hundred has two characters."""
    return rng.choice(_DOUBLE) if rng.random() < 0.01 else SURNAMES[int(rng.random() * len(SURNAMES))]


def given_name(rng: Random, sex: str) -> str:
    """A given name of one or two characters; one in two hundred has a rare one."""
    characters = _MALE if sex == "1" else _FEMALE
    count = 1 if rng.random() < 0.25 else 2
    name = "".join(characters[int(rng.random() * len(characters))] for _ in range(count))
    return name[:-1] + rng.choice(_RARE) if rng.random() < 0.005 else name


def region(rng: Random) -> str:
    """A district's code, weighted by population."""
    return rng.choices(REGION_CODES, _REGION_WEIGHTS)[0]


def other_region(rng: Random, code: str) -> str:
    """Another district's code."""
    while (found := region(rng)) == code:
        pass
    return found


def address(rng: Random, code: str) -> str:
    """A street address in the district."""
    street = f"{rng.choice(_STREETS)}{rng.choice(_KINDS)}"
    return f"广州市{REGIONS[code]}区{street}{int(rng.random() * 900) + 1}号{int(rng.random() * 32) + 1}0{rng.choice('123456')}房"


def place(rng: Random, code: str) -> tuple[float, float]:
    """Longitude and latitude within about five kilometres of the district's middle."""
    lon, lat = CENTRES[code]
    return round(lon + (rng.random() - 0.5) / 10, 6), round(lat + (rng.random() - 0.5) / 10, 6)


def firm(rng: Random, trade: str, kind: str) -> str:
    """A firm's name, as its kind writes it."""
    brand = rng.choice(_BRANDS_1) + rng.choice(_BRANDS_2) + rng.choice(_BRANDS_1)
    word = TRADES[trade][0]
    if kind == "SOLE_TRADER":
        return f"广州市{rng.choice(tuple(REGIONS.values()))}区{brand}{word}店"
    return f"广州{brand}种养专业合作社" if kind == "FARMER_COOP" else f"广州市{brand}{word}有限公司"
