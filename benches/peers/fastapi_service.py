"""The check of `good_validate` as a FastAPI service, the usual way: a model, one route."""

from fastapi import FastAPI
from pydantic import BaseModel, Field


class Parameters(BaseModel):
    size: float = Field(ge=0, le=126)
    effort: float = Field(ge=1, le=64)
    count: float = Field(ge=1, le=100)
    range: float = Field(ge=0, le=10)
    label: str = ""


class Request(BaseModel):
    parameters: Parameters


app = FastAPI()


@app.post("/validate")
def validate(request: Request):
    return {"parameters": request.parameters}
