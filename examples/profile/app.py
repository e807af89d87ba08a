"""Keeps a profile for each account: made when it is created, deleted with it."""

import os

import boto3
from botocore.exceptions import ClientError


def handler(event, _context, table=None):
    """Takes one event of docs/events.md. It may come twice, and in any order: both change nothing."""
    table = table or boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
    detail = event["detail"]
    if event["detail-type"] == "user.deleted":
        # Final: what comes later of this account finds that it is gone.
        table.put_item(Item={"user_id": detail["user_id"], "deleted_at": detail["at"]})
    elif event["detail-type"] == "user.created":
        profile = {"user_id": detail["user_id"], "created_at": detail["at"], "bio": ""}
        try:
            table.put_item(Item=profile, ConditionExpression="attribute_not_exists(user_id)")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
