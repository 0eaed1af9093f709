"""The application, mounted into another one."""

from __future__ import annotations

from fastapi import FastAPI
from webhook_app import application

mounted = FastAPI(lifespan=application.lifespan)
mounted.mount("/hooks", application)
