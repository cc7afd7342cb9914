"""The least that the SDK can serve: one echo tool whose answer is as large as the text it is given."""

from mcp.server import MCPServer
from pydantic import BaseModel


class Echo(BaseModel):
    text: str


server = MCPServer("bare")


@server.tool(structured_output=True)
async def echo(text: str) -> Echo:
    """Return the text."""
    return Echo(text=text)


server.run("stdio")
