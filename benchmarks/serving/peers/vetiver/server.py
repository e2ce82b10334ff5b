"""vetiver: its API around the trained object, the input checked by its prototype."""

from pathlib import Path

import joblib
import pandas as pd
from vetiver import VetiverAPI, VetiverModel

model = joblib.load(Path(__file__).parents[4] / "model.joblib")
api = VetiverAPI(VetiverModel(model, "heights", prototype_data=pd.DataFrame({"Weight": [200.0]})), check_prototype=True)
app = api.app
