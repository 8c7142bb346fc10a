"""A form guarded against forgery, a file upload, a streaming response, and Django's own admin site."""

import hashlib

from django.contrib import admin
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path


def form(request):
    """The form, and what was sent with it."""
    if request.method != "POST":
        return render(request, "form.html")
    file = request.FILES.get("file")
    digest = hashlib.sha256()
    for part in file.chunks() if file else ():
        digest.update(part)
    return JsonResponse({"word": request.POST.get("word"), "length": file.size if file else 0, "sha256": digest.hexdigest()})


def seen(request):
    """What Django takes the request for."""
    return JsonResponse(
        {
            "url": request.build_absolute_uri(),
            "secure": request.is_secure(),
            "address": request.META.get("HTTP_X_FORWARDED_FOR"),
            "method": request.method,
        }
    )


def lines(_request):
    """A response whose length is not known when it begins."""
    return StreamingHttpResponse((f"line {number}\n" for number in range(1000)), content_type="text/plain")


def page(_request):
    """A page at the path of a file of the site, which therefore is never seen."""
    return HttpResponse("from Django")


urlpatterns = [
    path("form/", form),
    path("seen/", seen),
    path("lines/", lines),
    path("about.html", page),
    path("admin/", admin.site.urls),
]
