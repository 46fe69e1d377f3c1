# %% [markdown]
# # Completions per day
#
# Open this file as a notebook in VS Code, PyCharm, or JupyterLab with Jupytext. You need pandas, and
# credentials in the environment. With `ThriveClient.sandbox()`, you need no credentials.

# %%
import datetime as dt

import pandas as pd

from thrive_learning import ActivityType, ThriveClient

client = ThriveClient.from_env()
since = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)

# %%
with client.activities.iterate(types=[ActivityType.COMPLETED], since=since) as records:
    completions = pd.DataFrame(
        [(record.date, record.user, record.name) for record in records], columns=["date", "user", "name"]
    )
completions.head()

# %%
per_day = completions.groupby(completions["date"].dt.date).size()
print(per_day)

# %%
client.close()
