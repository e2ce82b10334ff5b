"""Which model answers now?

A model that is replaced on disk is loaded, proved on its golden rows and only then taken up; requests under way end
with the one that they began with. A bad one is refused, and the old one goes on.

>>> live = Live()
>>> live.model.signature.name
'htwtmlb-height'
"""

import logging
import os
import threading
import time
import weakref

import mlib

log = logging.getLogger(__name__)

INTERVAL = 0.4  # seconds between two looks; two equal ones after a change, and the files are taken as whole


class Live:
    """The model that answers, kept up with its files.

    Parameters
    ----------
    path : path, optional
        As for `mlib.load_model`.
    told : function
        Of this, called at first and whenever something changes.

    Attributes
    ----------
    model : mlib.Model
        Read it once a request.
    refused : str or None
        Why what now lies on disk was not taken up.

    Raises
    ------
    mlib.ModelError
        The first model cannot be loaded.
    """

    def __init__(self, path=None, told=lambda live: None):
        self.path = mlib.model_path(path)
        self._seen = self._tried = mlib.model_stamp(self.path)
        self.model = mlib.load_model(self.path)
        self.refused = None
        self._told = told
        told(self)
        self._lock = threading.Lock()
        threading.Thread(target=_watch, args=(weakref.ref(self),), name="model watcher", daemon=True).start()

    def look(self):
        """Take up what lies on disk, when it is another model than before and no longer changes."""
        with self._lock:
            stamp = mlib.model_stamp(self.path)
            if stamp != self._seen:
                self._seen = stamp
                return
            if stamp == self._tried:
                return
            self._tried = stamp
            old = self.model.signature.version
            try:
                self.model = mlib.load_model(self.path)
            except mlib.Error as error:
                self.refused = self._without_folders(str(error))
                log.error("The model on disk was refused; version %s goes on answering. %s", old, error)
                self._told(self)
                return
            except Exception:  # pylint: disable=broad-exception-caught  # a bug; the old model goes on, and it is seen
                self.refused = "It cannot be loaded; the log has why."
                log.exception("The model on disk cannot be loaded; version %s goes on answering.", old)
                self._told(self)
                return
            self.refused = None
            log.info("Model version %s answers; before it was %s.", self.model.signature.version, old)
            self._told(self)

    def _without_folders(self, text):
        """What strangers are told names files, and not where they are."""
        for path in (self.path, mlib.compiled_path(self.path)):
            for name in sorted({path, os.path.realpath(path)}, key=len, reverse=True):
                text = text.replace(name, os.path.basename(name))
        return text


def _watch(reference):
    """Look again and again, as long as somebody has the model."""
    while True:
        time.sleep(INTERVAL)
        live = reference()
        if live is None:
            return
        try:
            live.look()
        except Exception:  # pylint: disable=broad-exception-caught  # a bug here must not end the watch
            log.exception("Looking for a new model failed.")
        del live
