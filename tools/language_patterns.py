"""The patterns that the English of this project avoids, each with what to write instead. Pure."""

import re
from typing import NamedTuple


class Pattern(NamedTuple):
    """A pattern of words in prose."""

    name: str
    words: re.Pattern[str]
    instead: str


def pattern(name: str, words: str, instead: str) -> Pattern:
    """Return a pattern. A space in `words` matches any white space, so that prose may wrap."""
    return Pattern(name, re.compile(words.replace(" ", r"\s+"), re.MULTILINE), instead)


_BE = r"(?:is|are|was|were|be|been|being)"
_PLURALS = (
    "records|requests|responses|attempts|seconds|minutes|hours|days|lines|files|items|pages|IDs|bytes|errors|tests"
    "|retries|tokens|processes|threads|clients|connections|regions|profiles|secrets|times"
)
_BRITISH = (
    r"colour\w*|behaviour\w*|cancelled|cancelling|favour\w*|honour\w*|centre[sd]?|grey|licences?|judgement\w*"
    r"|neighbour\w*|artefacts?|defence|offence|labell(?:ed|ing)|travell(?:ed|ing)|modell(?:ed|ing)|signall(?:ed|ing)"
    r"|learnt|spelt|whilst|amongst|fulfil|programme|catalogues?"
    r"|(?:organ|recogn|initial|normal|serial|summar|optim|minim|maxim|custom|author|synchron|character|general|special"
    r"|real|util|emphas|categor|prior|tokenis)is(?:e|es|ed|ing|ation|ations)|analys(?:ed?|es|ing)"
)
# A clause that could be a sentence: its subject is a pronoun, and its verb follows.
_CLAUSE = (
    r"(?:(?:it|they|there|this|we|you|nothing|nobody|no one|neither|each|both)"
    r" (?:\w+ )?(?:is|are|was|were|has|have|had|does|do|did|can|cannot|could|may|might|must|will|would|should"
    r"|\w{3,}(?:s|ed))\b|if |otherwise )"
)
_SENTENCE = r"(?:\A|(?<=\n\n)|(?<=[.!?]\s))\s*"
_WHAT = r"(?:What (?!to\b|if\b)|Those (?:that|who|which|of) |That which |(?:The|Any) one that )"

PATTERNS = (
    pattern(
        "is-none",
        rf"\b{_BE} none\b(?! of)",
        "what is missing or wrong: 'not a …', 'not valid', 'if not set'",
    ),
    pattern(
        "is-no",
        r"(?<![Tt]here\s)\b(?:is|are|was|were) no"
        r" (?!(?:longer|more|less|fewer|later|older|newer|earlier|larger|better|one|different)\b)\w+",
        "'is not a …' or 'is not valid'",
    ),
    pattern("no-such", r"\b[Tt]here (?:is|are|was|were) no such\b", "the thing itself: 'unknown region'"),
    pattern("whoever", r"\b[Ww]ho(?:m|so)?ever\b", "the actor: 'the caller', 'the server'"),
    pattern(
        "what-as-subject",
        rf"{_SENTENCE}{_WHAT}(?![^.!?]*\?)\S+",
        "the subject: 'the result', 'records that failed'",
    ),
    pattern("way-out", r"\bways? out\b", "'option', 'alternative', 'route', or 'workaround'"),
    pattern(
        "told",
        rf"\b{_BE} (?:\w+ )?told\b|\b[Tt]ells? (?:\S+ ){{1,4}}apart\b"
        r"|\btold (?:apart|of|by|from|as|nothing)\b|\b[Tt]ells? of\b",
        "'reported', 'passed', 'distinguished'",
    ),
    pattern(
        "said",
        rf"\b{_BE} (?:\w+ )?said\b|\bsaid (?:of|once|twice|there)\b",
        "'stated', 'reported', 'documented'",
    ),
    pattern(
        "has-to",
        r"(?<!not\s)(?<!n't\s)(?<!never\s)\b(?:has|have|had|having) to\b(?! do\b)",
        "'must' or 'need to'",
    ),
    pattern("british", rf"\b(?i:{_BRITISH})\b", "the American spelling"),
    pattern("time-out", r"\b[Tt]ime-outs?\b", "'timeout'"),
    pattern("colon-sentence", rf"(?<=[a-zA-Z`\")·]): {_CLAUSE}", "two sentences, or 'because', 'so', 'and'"),
    pattern(
        "in-plain",
        r"\bin plain\b(?! (?:text|English|HTTP|Python|JSON|language|sight|words|view)\b)",
        "'in plain text'",
    ),
    pattern("one-plural", rf"(?<![\w.,:/+-])1 (?:{_PLURALS})\b", "the singular: '1 record'"),
    pattern("either-number", r"[a-z]\(s\)(?!\w)", "the number that is meant: '1 record', '2 records'"),
    pattern("at-the-most", r"\bat the most\b|\bfor ever\b", "'at most' or 'forever'"),
    pattern("anew", r"\banew\b", "'again', 'new', or 'from scratch'"),
    pattern("go-on-with", r"\b(?:go|goes|gone|going|went) on with\b", "'continue' or 'resume'"),
    pattern(
        "stands-in",
        r"\b(?:stands?|stood) (?:in|at|on|between|there|under|before|below|above)\b",
        "'is in', 'appears'",
    ),
    pattern(
        "made-of",
        r"\bma(?:de|ke|kes) no sense\b|\bma(?:de|ke|kes) nothing of\b|\b[Nn]othing (?:is|was) made of\b",
        "'not valid', 'discarded', 'not understood'",
    ),
    pattern(
        "archaic",
        r"\b(?:hence|thereof|whereof|wherein|hereby|thereby|hitherto|herein)\b",
        "a word in daily use",
    ),
    pattern("on-its-way", r"\bon (?:its|their) way\b", "'in flight'"),
    pattern("and-the-like", r"\band the like\b|\bor the like\b", "the examples, or nothing"),
    pattern("for-good", r"\bfor good\b(?! (?:reason|measure)s?\b)", "'permanently' or 'forever'"),
)

#: The first words of test names that hide what the test rejects or shows.
VAGUE_TEST = re.compile(r"test_(?:what|those|that_which|whoever|who)_")

_VERBS = """
    Abort Accept Acquire Act Add Adopt Advance Allow Answer Append Apply Ask Assert Assume Attach
    Authenticate Authorize Await Back Begin Bind Block Break Bring Build Bump Cache Calculate Call
    Cancel Capture Carry Change Check Choose Claim Classify Clean Clear Clone Close Collect Combine
    Compare Compile Complete Compress Compute Conclude Configure Confirm Connect Construct Consume
    Continue Convert Copy Count Cover Create Cut Decide Declare Decode Decompress Decorate Defer
    Define Delay Delegate Delete Deliver Derive Describe Detect Determine Discard Disconnect
    Dispatch Display Divide Do Download Draw Drain Drive Drop Dump Edit Embed Emit Empty Enable Encode
    End Enforce Ensure Enter Escape Establish Estimate Evaluate Examine Exchange Execute Exercise
    Exit Expand Expect Explain Export Expose Extend Extract Fail Feed Fetch Fill Filter Find Finish
    Flatten Flush Follow Force Forget Format Forward Free Freeze Fuzz Gather Generate Get Grant
    Group Guard Guess Handle Hash Hold Identify Ignore Implement Import Include Increase Index Infer
    Inform Initialize Inject Insert Inspect Install Interpret Interrupt Invoke Issue Iterate Join
    Keep Kill Launch Lay Leave Let Limit Link Lint List Listen Load Locate Lock Log Look Make Map
    Mark Mask Match Measure Merge Mint Mirror Mock Modify Mount Move Mutate Name Narrow Negotiate
    Normalize Note Notify Observe Obtain Offer Omit Open Order Override Pack Pad Parse Pass Patch Pause
    Perform Persist Pick Pin Place Plan Plot Poll Pool Pop Populate Post Prefer Prepare Present
    Prevent Print Process Produce Prompt Propose Protect Provide Prove Publish Pull Push Put Query
    Queue Quote Raise Range Rank Reach Read Rebuild Receive Recognize Record Recover Redact Redirect
    Reduce Refill Refresh Refuse Register Reject Release Rely Remember Remove Rename Render Renew Reopen
    Repeat Replace Replay Report Reproduce Request Require Rerun Reserve Reset Resolve Respond
    Restore Restrict Resume Retrieve Retry Return Reuse Rewrite Rotate Round Route Run Save Scan
    Schedule Script Search See Seed Select Send Separate Serialize Serve Set Shake Share Shift Show
    Shrink Shut Sign Simulate Skip Sleep Slice Snapshot Solve Sort Spawn Spend Split Spread Start
    State Stop Store Stream Stretch Strip Submit Subscribe Substitute Subtract Suggest Sum Summarize
    Support Suppress Suspend Swap Switch Sync Synchronize Tabulate Take Tally Terminate Test
    Throttle Time Toggle Touch Trace Track Transform Translate Treat Trigger Trim Truncate Trust Try
    Turn Type Undo Unlock Unpack Unwrap Update Upload Upgrade Use Validate Vary Verify View Visit
    Wait Wake Walk Warn Watch Withdraw Withhold Work Wrap Write Yield
"""
#: The words that a docstring of a function may begin with.
VERBS = frozenset(_VERBS.split())
