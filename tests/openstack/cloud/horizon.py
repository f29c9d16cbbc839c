"""A real Horizon, and a browser that clicks through its object-store panel."""

import re

import requests

from cloud.processes import WsgiService, service_environment

# Horizon's own settings, and what an operator writes into local_settings.py. The pages' styles are not what is looked at.
SETTINGS = """\
from openstack_dashboard.settings import *
SECRET_KEY = "only for these stories"
ALLOWED_HOSTS = ["*"]
OPENSTACK_KEYSTONE_URL = {keystone!r}
CACHES = {{"default": {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}}
COMPRESS_ENABLED = False
"""
# As Horizon's own, which insists on its own settings.
APPLICATION = """\
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""


class Horizon:
    def __init__(self, environment, folder, keystone):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stories_settings.py").write_text(SETTINGS.format(keystone=keystone.url))
        (folder / "stories_wsgi.py").write_text(APPLICATION)
        variables = service_environment(PYTHONPATH=str(folder), DJANGO_SETTINGS_MODULE="stories_settings")
        self.service = WsgiService(environment, "stories_wsgi", folder, "horizon", variables)

    def start(self):
        self.service.start("/auth/login/")

    def stop(self):
        self.service.stop()


class Browser:
    """Of one user, with his session."""

    def __init__(self, horizon):
        self.url = horizon.service.url
        self.session = requests.Session()

    def login(self, user, password):
        """Fills in the form. The page that Horizon leads to."""
        page = self.session.get(f"{self.url}/auth/login/", timeout=60)
        hidden = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text).group(1)
        form = {"username": user, "password": password, "region": "default", "csrfmiddlewaretoken": hidden}
        answer = self.session.post(page.url, form, allow_redirects=False, timeout=60)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def page(self, path):
        return self.session.get(self.url + path, timeout=60).status_code

    def ask(self, method, path, **more):
        """What the panel's scripts ask: the answer of Horizon's REST API."""
        scripts = {"X-Requested-With": "XMLHttpRequest", "X-CSRFToken": self.session.cookies.get("csrftoken", "")}
        return self.session.request(method, f"{self.url}/api/swift/{path}", headers=scripts, timeout=60, **more)
