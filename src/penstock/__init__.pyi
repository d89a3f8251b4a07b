from typing import Final

from .client.client import Client as Client
from .client.connecting import connect as connect
from .client.reading import read as read
from .client.sync import SyncClient as SyncClient
from .engine.tools import Asking as Asking
from .engine.tools import ToolFault as ToolFault
from .engine.tools.functions import tool as tool
from .errors import PenstockError as PenstockError
from .reconnect import Policy as Policy
from .requests import Candidate as Candidate
from .requests import Tool as Tool
from .server.embed import Agent as Agent
from .server.embed import Answer as Answer
from .server.embed import Penstock as Penstock
from .server.embed import Told as Told

__version__: Final = "0.1.0.dev0"
