"""Headlines with the sign a trader would give them: 1 good, -1 bad, 0 neither.

Written for the tests in the form of wire headlines, balanced. The same hand wrote the words of
`connectors/slow/lexicon.py` and knew both, so this shows that the mechanism works, not what it is worth on a wire.
"""
from __future__ import annotations

GOOD = """Apple shares climb after quarterly profit beats forecasts
Chipmaker raises full-year outlook on strong demand for AI servers
Bitcoin surges past record as spot funds draw inflows
Bank posts higher net income and announces share buyback
Retail sales rose more than expected in December
Drugmaker wins approval for new diabetes treatment
Stocks rally as central bank signals easing
Airline upgrades guidance after record summer bookings
Ether jumps after exchange lists staking product
Unemployment claims fell to the lowest level in a year
Carmaker deliveries topped estimates in the fourth quarter
Oil producer boosts dividend after profitable year
Consumer confidence improved for a third month
Analysts upgrade retailer on better margins
Software maker's revenue growth accelerated in the quarter
Solana rebounds as network upgrade goes live
Company swings to profit on cost savings
Futures higher after upbeat earnings
Lender exceeds capital requirements in stress test
Manufacturer secures large order from government
Gold gains as investors seek safety
Insurer reports lower claims and better underwriting result
Merger cleared by regulators without conditions
Homebuilder says cancellations are no longer rising""".splitlines()

BAD = """Shares plunge after company slashes guidance
Crypto exchange hacked, withdrawals suspended
Bank misses profit estimates as loan losses mount
Factory output contracted for a second month
Regulator sues token issuer over unregistered sale
Retailer files for bankruptcy protection
Carmaker recalls two million vehicles over brake fault
Stocks tumble on fears of recession
Chipmaker warns of weaker demand in China
Inflation unexpectedly accelerates, bond prices drop
Analysts downgrade airline after fuel costs climb
Bitcoin slides below support as liquidations mount
Company to cut ten thousand jobs in restructuring
Regulator did not approve the fund
Drug trial fails to meet main goal
Auditor resigns, citing accounting irregularities
Sales fell short of expectations
Prosecutors charge founder with fraud
Oil prices crash as producers raise supply
Lender halts redemptions from property fund
Credit rating lowered to junk
Ether drops after software exploit drains protocol
Profit did not grow as planned
Trade deficit widened to a record""".splitlines()

NEUTRAL = """Company to report quarterly results on Thursday
Central bank publishes minutes of its January meeting
Exchange lists new options contract
Annual shareholder meeting to be held in Omaha
Treasury sells ten-year notes at auction
Board appoints new chief financial officer
Company moves headquarters to Texas
Statistics office changes base year of price index
Fund files quarterly holdings report
Exchange announces holiday trading hours
Firm names regional head for Asia
Lawmakers hold hearing on market structure
Bitcoin little changed in quiet session
Company completes previously announced tender offer
Index provider reviews its constituents in March
Bank issues senior notes due 2031
Airline adds route between Lisbon and Boston
Software maker releases version four of its database
Central bank governor speaks at conference
Mine operator publishes technical report
Stocks flat ahead of jobs data
Issuer sets record date for distribution
Network schedules maintenance for Sunday
Regulator opens comment period on rule""".splitlines()

HEADLINES: list[tuple[str, int]] = [(text, sign) for sign, texts in ((1, GOOD), (-1, BAD), (0, NEUTRAL))
                                    for text in texts]
