"""Runs the function on what the local stack has published: python3 run_locally.py [URL]"""

import json
import sys
import urllib.request

from app import handler


class Table:
    """What the function needs of a table, in memory."""

    def __init__(self):
        self.items = {}

    def put_item(self, Item, ConditionExpression=None):
        if ConditionExpression is None or Item["user_id"] not in self.items:
            self.items[Item["user_id"]] = Item


url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:3000"
table = Table()
for event in json.load(urllib.request.urlopen(f"{url}/_local/events.json")):
    handler(event, None, table)
print(json.dumps(list(table.items.values()), indent=2))
