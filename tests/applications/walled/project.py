"""A Django application in one file: it tells of its process, and tries to reach what it must not."""

import errno
import os
import socket
import urllib.request

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=[os.environ["SPOTHOST_DOMAIN"]],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests alone",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
)
# Metadata of the instance and credentials of containers.
FORBIDDEN = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "::ffff:169.254.169.254"]


def version(_request):
    """The version of the package."""
    return HttpResponse(os.environ["VERSION"])


def process(_request):
    """The process, and what is around it."""
    told = {"pid": os.getpid(), "parent": os.getppid(), "uid": os.getuid(), "secure": _request.is_secure()}
    return JsonResponse({**told, "folder": os.getcwd(), "environment": dict(os.environ)})


def sent(address):
    """How the kernel answers a datagram to that address: the name of an error, or none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        try:
            datagrams.sendto(b"x", (address, 80))
        except OSError as error:
            return errno.errorcode[error.errno]
    return None


def fetched(request):
    """What comes of asking there by HTTP."""
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return answer.status
    except OSError as error:
        return type(error).__name__


def reach(_request):
    """Tries all of them by datagrams, and the metadata by HTTP, as a page that fetches what its visitors name would."""
    url = "http://169.254.169.254/latest/from-the-application"
    token = urllib.request.Request(url, method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    return JsonResponse({"datagrams": {address: sent(address) for address in FORBIDDEN}, "http": [fetched(url), fetched(token)]})


def health(_request):
    """Well."""
    return HttpResponse("well")


urlpatterns = [path("version", version), path("process", process), path("reach", reach), path("health", health)]
application = get_wsgi_application()
