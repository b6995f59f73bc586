"""Profiles in the shape of each network's API.

https://apiok.ru/en/dev/methods/rest/users/users.getCurrentUser,
https://api.mail.ru/docs/reference/rest/users.getInfo/, and what VK ID and Mail ID answer for a user's profile.
"""

from datetime import date
from typing import Any

# Pictures and pages live where no request can do harm: nobody's server is behind example.com.
_PICTURES = "https://example.com/socialgrants-sandbox"


def ok_profile(
    uid: str, first_name: str, last_name: str, gender: str, birthday: str, city: str, mailbox: str
) -> dict[str, Any]:
    """`birthday` is yyyy-mm-dd, `gender` male or female; without `mailbox` there is no e-mail address."""
    profile = {
        "uid": uid,
        "birthday": birthday,
        "birthdaySet": True,
        "age": _age(date.fromisoformat(birthday)),
        "first_name": first_name,
        "last_name": last_name,
        "name": f"{first_name} {last_name}",
        "locale": "ru",
        "gender": gender,
        "has_email": bool(mailbox),
        "location": {
            "city": city,
            "country": "RUSSIAN_FEDERATION",
            "countryCode": "RU",
            "countryName": "Россия",
        },
        "online": "web",
        "photo_id": uid[-3:],
        "pic_1": f"{_PICTURES}/{uid}/50x50.png",
        "pic_2": f"{_PICTURES}/{uid}/128x128.png",
        "pic_3": f"{_PICTURES}/{uid}/190x190.png",
    }
    return profile | ({"email": f"{mailbox}@example.com"} if mailbox else {})


def mailru_profile(
    uid: str, first_name: str, last_name: str, sex: int, birthday: str, city: str, nick: str
) -> dict[str, Any]:
    """`birthday` is dd.mm.yyyy, `sex` 0 = male and 1 = female; without `nick` there is no e-mail address."""
    day, month, year = map(int, birthday.split("."))
    profile = {
        "uid": uid,
        "first_name": first_name,
        "last_name": last_name,
        "nick": nick or first_name,
        "sex": sex,
        "birthday": birthday,
        "age": _age(date(year, month, day)),
        "has_pic": 1,
        "pic": f"{_PICTURES}/{uid}/180.png",
        "pic_small": f"{_PICTURES}/{uid}/45.png",
        "pic_big": f"{_PICTURES}/{uid}/600.png",
        "pic_190": f"{_PICTURES}/{uid}/190.png",
        "link": f"{_PICTURES}/{uid}/",
        "is_verified": 1,
        "vip": 0,
        "app_installed": 1,
        "is_online": 0,
        "last_visit": 1589700000,
        "friends_count": 3,
        "status_text": "",
        "location": {
            "city": {"name": city, "id": "25"},
            "country": {"name": "Россия", "id": "24"},
            "region": {"name": city, "id": "1"},
        },
    }
    return profile | ({"email": f"{nick}@example.org"} if nick else {})


def vkid_profile(
    user_id: int, first_name: str, last_name: str, sex: int, birthday: str, mailbox: str, phone: str
) -> dict[str, Any]:
    """`birthday` is dd.mm.yyyy, `sex` 1 = female, 2 = male and 0 = unknown; "" stands for what is not there."""
    return {
        "user_id": str(user_id),
        "first_name": first_name,
        "last_name": last_name,
        "phone": phone,
        "avatar": f"{_PICTURES}/{user_id}/50x50.png",
        "email": f"{mailbox}@example.com" if mailbox else "",
        "sex": sex,
        "verified": False,
        "birthday": birthday,
    }


def mailid_profile(
    uid: str, first_name: str, last_name: str, gender: str, birthday: str, mailbox: str
) -> dict[str, Any]:
    """`birthday` is dd.mm.yyyy, `gender` m or f."""
    return {
        "id": uid,
        "email": f"{mailbox}@example.org",
        "name": f"{first_name} {last_name}",
        "first_name": first_name,
        "last_name": last_name,
        "nickname": first_name,
        "gender": gender,
        "birthday": birthday,
        "locale": "ru_RU",
        "image": f"{_PICTURES}/{uid}/180.png",
    }


def _age(born: date) -> int:
    today = date.today()
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))
