"""The function as the chapter has it: a library that loads the model and fits the scalers at each event."""

import json

import mlib


def lambda_handler(event, context):
    """Predict the height of a player."""
    if "body" in event:
        event = json.loads(event["body"])
    prediction = mlib.predict(event["Weight"]) if event and "Weight" in event else "No Payload"
    return {"statusCode": 200, "body": json.dumps({"prediction": prediction})}
