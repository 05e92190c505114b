"""Every English sentence of the pages, so that they can be translated in one place.

What others wrote (names of files, messages of the service) is never part of these: it stands beside them.
"""

from __future__ import annotations

from typing import Final

PRODUCT: Final = "Audio Pipeline"
UNKNOWN: Final = "\N{EN DASH}"
UNREACHABLE: Final = "The service does not answer; trying again."

# ---- Sign in ----
SIGN_IN_LEAD: Final = "Stems, tempo, key and loudness of your recordings, on a machine of your own."
SIGN_IN_KEY: Final = "API key"
SIGN_IN_KEY_HELP: Final = "The service showed one when it was first started; more are made on the admin page."
SIGN_IN: Final = "Sign in"
SIGN_IN_ORGANISATION: Final = "Sign in with your organisation"
SIGN_IN_REFUSED: Final = "This key is not accepted"
SIGN_IN_EMPTY: Final = "Type your key first."
SIGN_IN_NO_KEY: Final = "Your account has no key here"
SIGN_IN_NO_KEY_HINT: Final = "Ask whoever runs this service to give it one."
SIGN_IN_UNVERIFIED: Final = "Your e-mail address is not verified"
SIGN_IN_UNVERIFIED_HINT: Final = "Verify it where your account is kept, then sign in again."
SIGN_IN_AGAIN: Final = "Your key is no longer accepted"
SIGN_OUT: Final = "Sign out"
SIGNED_IN_AS: Final = "Signed in as"
UNREACHABLE_TITLE: Final = "The service does not answer"
UNREACHABLE_HINT: Final = "This page goes on by itself as soon as it is back."
SETTINGS_WRONG: Final = "The UI is not set up right"
SETTINGS_WRONG_HINT: Final = "Its log says which setting it is."
FAILED: Final = "That did not work"

# ---- Submit ----
SUBMIT_PAGE: Final = "New"
SUBMIT_TITLE: Final = "Take a song apart"
SUBMIT_LEAD: Final = "Add one recording or many. They go straight to your own service, and nowhere else."
SUBMIT_FORBIDDEN: Final = "This key may look at jobs, but not submit any."
MODEL: Final = "Model"
SETTINGS: Final = "Settings"
SETTINGS_LEAD: Final = "For the recordings that you add from now on."
SUMMARY: Final = "{model} makes {stems}, as {formats}."
SUMMARY_STEMS: Final = {"one": "1 stem", "many": "{count} stems"}
MODEL_STEMS: Final = "{count} stems"
MODEL_TIME: Final = "about {time} for a 4-minute song"
MODEL_FETCH: Final = "Its weights ({size}) are fetched before the first job."
MODEL_COMMERCIAL: Final = "Commercial use allowed"
MODEL_RESEARCH: Final = "Research use only"
MODEL_LICENCE: Final = "Licence"
MODELS_MORE: Final = "Show all models"
STEMS: Final = "Stems"
STEMS_HELP: Final = "“Without” is the recording minus that stem: without vocals is a backing track."
WITHOUT: Final = "Without {stem}"
FORMATS: Final = "Formats"
OPTIONS: Final = "Options"
ESTIMATORS: Final = "Analysis"
EXPORTS: Final = "For other programs"
EXPORTS_HELP: Final = "Files with beats, chords, sections and notes that other programs open."
RESIDUAL: Final = "What is left over"
RESIDUAL_HELP: Final = "The recording minus the sum of its stems."
RESIDUALS: Final = {
    "report": "Measure it",
    "file": "Keep it as a file",
    "distribute": "Add it to the stems, so that they sum to the recording",
}
PRECISION: Final = "Precision"
PRECISIONS: Final = {"balanced": "Balanced", "fast": "Fast", "exact": "Exact"}
PRECISION_HELP: Final = (
    "Fast takes a sixth less time, for a difference that few will hear. Exact repeats the arithmetic that "
    "the model was published with, and takes several times longer."
)
SHIFTS: Final = "Extra passes"
SHIFTS_HELP: Final = "The average of more passes is a little better, and takes as many times longer."
COMMERCIAL_ONLY: Final = "Refuse models that are licensed for research only"
DAMAGED: Final = "Use what can be read of damaged recordings"
RECORDINGS: Final = "Recordings"
OPEN_JOB: Final = "Open"

BATCH_FOLLOW: Final = "Follow them together"

# ---- Batches ----
BATCH_PAGE: Final = "Batch"
BATCH_TITLE: Final = {"one": "Batch of 1 recording", "many": "Batch of {count} recordings"}
BATCH_PROGRESS: Final = "Progress of the batch"
BATCH_COLUMNS: Final = ("Recording", "Status", "Progress", "Left")
BATCH_COUNT: Final = "{count} {status}"
BATCH_MORE: Final = "And {count} more."
BATCH_CANCEL: Final = "Cancel all"
BATCH_UNKNOWN: Final = "There is no such batch"
BATCH_UNKNOWN_HINT: Final = "It may be another owner's, or over 30 days old. Its jobs are still there."
BATCHES_TITLE: Final = "Your batches"
BATCHES_NONE: Final = "No batches yet"
BATCHES_NONE_HINT: Final = "Recordings that are added together are followed together."
CANCEL_BATCH_TITLE: Final = "Cancel this batch?"
CANCEL_BATCH_WHAT: Final = "What waits is not begun, and what runs is stopped. Finished jobs stay."

# ---- One job ----
JOB_PAGE: Final = "Job"
JOB_NONE: Final = "No job is open"
JOB_NONE_HINT: Final = "Choose one from your jobs, or submit a recording."
JOB_UNKNOWN: Final = "There is no such job"
JOB_UNKNOWN_HINT: Final = "It may be another owner's, or the address is not complete."
JOB_DELETED: Final = "This job was deleted"
JOB_DELETED_HINT: Final = (
    "Its recording, stems and manifest are gone. Submit the recording again if you need them."
)
JOB_EXPIRED: Final = "The audio has expired"
JOB_EXPIRED_HINT: Final = "What was found out about the recording is kept; its stems are deleted."
JOB_FAILED: Final = "This job failed"
JOB_CANCELLED: Final = "This job was cancelled"
JOB_CANCELLED_HINT: Final = "Nothing was published. It can be queued again as long as its recording is kept."
JOB_RETRYING: Final = "The last attempt failed; it is tried again {when}."
STATUS: Final = {
    "waiting": "To come",
    "refused": "Refused",
    "queued": "Waiting",
    "running": "Running",
    "succeeded": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "expired": "Expired",
    "erased": "Deleted",
}
STAGES: Final = {
    "probe": "Check the file",
    "decode": "Decode",
    "separate": "Separate the stems",
    "estimate": "Analyse",
    "encode": "Write the files",
    "export": "Export for other programs",
    "publish": "Publish",
}
STATUS_PERCENT: Final = "{status}, {percent} %"
QUEUE_NEXT: Final = "Next in the queue"
QUEUE_AFTER: Final = {"one": "1 job before this one", "many": "{count} jobs before this one"}
TIME_LEFT: Final = "About {time} left"
STARTING: Final = "Starting"
PERCENT: Final = "{percent} % done"
CANCEL: Final = "Cancel"
RETRY: Final = "Try again"
DELETE: Final = "Delete"
DELETE_TITLE: Final = "Delete this job?"
DELETE_WHAT: Final = (
    "Deleted for good: the recording, all stems, the analysis and the manifest. "
    "Copies that you have saved elsewhere stay."
)
DELETE_YES: Final = "Delete for good"
KEEP: Final = "Keep it"
CANCEL_TITLE: Final = "Cancel this job?"
CANCEL_WHAT: Final = (
    "What has been separated so far is not published. The recording stays, so that it can be tried again."
)
CANCEL_YES: Final = "Cancel the job"
GO_ON: Final = "Let it run"
DELETED: Final = "The job is deleted."

# ---- Listen and look ----
LISTEN: Final = "Listen"
ANALYSIS: Final = "Analysis"
TEMPO: Final = "Tempo"
TEMPO_UNIT: Final = "BPM"
METER: Final = "Meter"
ALSO: Final = "also {others}"
SWING: Final = "swing {ratio:.1f}:1"
KEY: Final = "Key"
LOUDNESS: Final = "Loudness"
LOUDNESS_UNIT: Final = "LUFS"
DURATION: Final = "Length"
CONFIDENCE: Final = "{percent} % sure"
OR_ELSE: Final = "or {others}"
TUNING: Final = "tuned {cents:+.0f} cents"
CLIPPED: Final = "{count} samples clipped"
BAND_LIMITED: Final = "nothing above {khz:g} kHz"
RANGE_PEAK: Final = "range {range}, true peak {peak}"
NOT_ASKED: Final = "not asked for"
NOT_FOUND: Final = "none found"
ESTIMATE_FAILED: Final = "could not be estimated"
SILENT: Final = "silent"
MODES: Final = {"major": "major", "minor": "minor"}
SPECTROGRAM: Final = "Spectrogram"
SPECTROGRAM_ALT: Final = (
    "Spectrogram of the recording: time from left to right, frequency from bottom to top."
)
SPECTROGRAM_HZ: Final = "{hz} Hz"
SPECTROGRAM_KHZ: Final = "{khz} kHz"
SPECTROGRAM_NONE: Final = "There is no spectrogram of this job."
LOUDNESS_CURVE: Final = "Loudness over time"
CHORD_CHART: Final = "Chord chart"
STEM_LOUDNESS: Final = "Loudness of each stem"
STEM_ACTIVITY: Final = "When each stem sounds"
DOWNLOADS: Final = "Downloads"
EVERYTHING: Final = "Everything"
MANIFEST: Final = "Manifest"
DETAILS: Final = "How it was made"
DETAIL_NAMES: Final = {
    "model": "Model",
    "licence": "Licence",
    "quality": "Quality",
    "device": "Device",
    "precision": "Precision",
    "gain": "Gain of every stem",
    "residual": "Left over, relative to the recording",
    "reused": "Taken over from an earlier job",
    "input": "Recording",
    "software": "Software",
}
SIMILAR: Final = "Like this"
SIMILAR_SAME: Final = "The same recording"
SIMILAR_ALIKE: Final = "{percent} % alike"
LYRICS: Final = "Lyrics"
LYRICS_HINT: Final = "Heard by a network for speech ({model}): singing is often misheard."
LYRICS_NONE: Final = "No words were understood."
NOTES: Final = "Notes"
NOTES_COUNT: Final = {"one": "1 note", "many": "{count} notes"}
NOTES_RANGE: Final = ", {lowest} to {highest}"
HITS_COUNT: Final = {"one": "1 hit", "many": "{count} hits"}
DRUM_NAMES: Final = {"kick": "kick", "snare": "snare", "hat": "hi-hat", "tom": "tom", "cymbal": "cymbal"}
WARNINGS: Final = "Worth knowing"

# ---- Downloads, in the browser ----
DOWNLOAD_WORDS: Final = {
    "save": "Save",
    "saving": "Saving",
    "saved": "Saved",
    "failed": "Not saved. Try again.",
    "gone": "It is no longer there.",
}

# ---- History ----
HISTORY_PAGE: Final = "Jobs"
HISTORY_TITLE: Final = "Your jobs"
HISTORY_EMPTY: Final = "Nothing here yet"
HISTORY_EMPTY_HINT: Final = "Recordings that you submit appear here, with their stems and analysis."
HISTORY_FIRST: Final = "Submit a recording"
HISTORY_NO_MATCH: Final = "No job matches"
HISTORY_NO_MATCH_HINT: Final = "Try another part of the file name, or fewer filters."
SEARCH: Final = "Search by file name"
FILTER: Final = "Status"
SORT: Final = "Sort by"
SORTS: Final = {
    "newest": "Newest first",
    "oldest": "Oldest first",
    "name": "Name",
    "longest": "Longest first",
}
SORTED_OF: Final = "Sorted are the newest {count} that match."
PAGE_NEXT: Final = "Next"
PAGE_BACK: Final = "Back"
PAGE_NUMBER: Final = "Page {number}"
USAGE_JOBS: Final = "Jobs in the last 24 hours"
USAGE_AUDIO: Final = "Minutes of audio in the last 30 days"
USAGE: Final = "Usage"
OF_QUOTA: Final = "{used} of {quota}"

# ---- Admin ----
ADMIN_PAGE: Final = "Admin"
ADMIN_TITLE: Final = "The service"
ADMIN_FORBIDDEN: Final = "This page needs a key with the scope admin."
OVERVIEW: Final = "Overview"
READY: Final = "The service takes jobs"
NOT_READY: Final = "The service takes no jobs now"
REASONS: Final = {
    "draining": "it is stopping",
    "no_worker": "no worker is alive",
    "disk_reserve": "a disk is almost full",
    "memory_reserve": "too little memory is free",
    "storage": "a folder is missing or cannot be written",
    "database": "the database cannot be used",
}
WAITING: Final = "Waiting"
RUNNING: Final = "Running"
QUEUE: Final = "Queue"
QUEUE_EMPTY: Final = "No job waits or runs."
WORKERS: Final = "Workers"
WORKERS_NONE: Final = "No worker is there: jobs wait until one comes."
WORKER_IDLE: Final = "waits"
DISKS: Final = "Disks"
DISK_FREE: Final = "{free} free of {total}; {reserve} stay free"
KEYS: Final = "Keys"
KEY_NEW: Final = "Make a key"
KEY_NAME: Final = "Name"
KEY_NAME_HELP: Final = "To recognise it by: letters, digits, blanks and . _ @ + -"
KEY_OWNER: Final = "Owner"
KEY_OWNER_HELP: Final = "Whose jobs it sees; the name if left empty."
KEY_SCOPES: Final = "This key may"
SCOPES: Final = {
    "submit": "submit recordings",
    "read": "see jobs",
    "admin": "look after the service",
    "metrics": "read metrics",
}
KEY_JOBS: Final = "Jobs a day"
KEY_MINUTES: Final = "Minutes of audio a month"
KEY_DAYS: Final = "Days until it expires"
KEY_ANY: Final = "Leave empty for no limit."
KEY_MADE: Final = "Copy the key now: it is shown only this once."
KEY_SEEN: Final = "I have copied it"
REVOKE: Final = "Revoke"
REVOKE_TITLE: Final = "Revoke this key?"
REVOKE_WHAT: Final = (
    "Whoever uses it is refused from now on. Jobs that it submitted stay. This cannot be undone."
)
REVOKE_YES: Final = "Revoke it"
KEY_STATES: Final = {"valid": "Valid", "revoked": "Revoked", "expired": "Expired"}
KEYS_GONE: Final = "Show revoked and expired keys"
AUDIT: Final = "Audit log"
AUDIT_VERIFY: Final = "Verify the chain"
AUDIT_WHOLE: Final = "All {count} entries are intact."
AUDIT_HEAD: Final = "Note where the log ends; it proves later that nothing was cut off."
AUDIT_BROKEN: Final = "The log is broken at entry {entry}"
AUDIT_OLDER: Final = "Older"
AUDIT_NEWEST: Final = "Newest"
COLUMNS: Final = {
    "seq": "No.",
    "at": "Time (UTC)",
    "user": "User",
    "action": "Action",
    "input": "Input",
    "output": "Output",
    "status": "Status",
    "address": "Address",
    "job": "Job",
    "file": "File",
    "owner": "Owner",
    "progress": "Progress",
    "worker": "Worker",
    "doing": "Doing",
    "model": "Model",
    "memory": "Memory",
    "name": "Name",
    "begins": "Begins with",
    "scopes": "May",
    "state": "State",
    "used": "Last used",
}
NEVER: Final = "never"

# ---- Times and sizes ----
FROM_TO: Final = "{start} \N{EN DASH} {end}"
IN_A_MOMENT: Final = "in a moment"
IN_TIME: Final = "in {time}"
JUST_NOW: Final = "just now"
AGO: Final = "{time} ago"
HOURS: Final = "{hours} h {minutes} min"
MINUTES: Final = "{minutes} min"
SECONDS_SHORT: Final = "{seconds} s"
DAYS: Final = {"one": "1 day", "many": "{count} days"}

# ---- Account ----
ACCOUNT_PAGE: Final = "Account"
CHANNELS: Final = {1: "mono", 2: "stereo"}
CHANNELS_MANY: Final = "{count} channels"
