"""The engine's side of the charges, for trying it out: takes HL7 v2 over MLLP, prints it, acknowledges it.

    python listener.py [PORT]

A real engine puts the message into its charge-review queue before it answers AA.
"""

from __future__ import annotations

import asyncio
import sys

from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server


async def connected(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
    try:
        while not writer.is_closing():
            message = await reader.readmessage()
            print(str(message).replace("\r", "\n"), flush=True)
            writer.writemessage(message.create_ack())
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


async def main(port: int) -> None:
    server = await start_hl7_server(connected, "127.0.0.1", port, encoding="utf-8")
    print(f"listening on {port}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2575))
