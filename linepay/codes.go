package linepay

import (
	"maps"
	"slices"
	"strings"
)

// Code is one of LINE Pay's result codes and what it says about the money.
type Code struct {
	// Code has four characters. "190X" stands for 1900 to 1909.
	Code string
	// Meaning is what the code says, in our words.
	Meaning string
	// Verdict holds for every operation that Per does not name. Operations that only read never get Already from it, but Unknown: they have
	// nothing that could be done already.
	Verdict Verdict
	// Per holds the operations for which the code says something else.
	Per map[Operation]Verdict
}

// Codes lists the whole table, sorted by code. The caller may change what it gets.
func Codes() []Code {
	list := slices.Clone(codes)
	for i := range list {
		list[i].Per = maps.Clone(list[i].Per)
	}
	return list
}

// Classify gives the verdict on an answer to op: the table's, or Unknown for a code that is not in it. LINE Pay adds codes without notice,
// and only what is known to have moved nothing may be called a refusal.
func Classify(op Operation, code string) Verdict {
	if len(code) == 4 && strings.HasPrefix(code, "190") && code[3] >= '0' && code[3] <= '9' {
		code = "190X"
	}
	row, ok := rows[code]
	if !ok {
		return Unknown
	}
	if verdict, ok := row.Per[op]; ok {
		return verdict
	}
	if row.Verdict == Already && op.Reads() {
		return Unknown
	}
	return row.Verdict
}

var rows = func() map[string]Code {
	m := make(map[string]Code, len(codes))
	for _, row := range codes {
		m[row.Code] = row
	}
	return m
}()

var (
	// onlyCheck: the state of a payment request, which no other call answers with.
	onlyCheck = map[Operation]Verdict{Check: Done}

	// onCapture: which of 1155, 1172 and 1179 a repeated capture gets is not documented. So each may mean that it has been captured already.
	onCapture = map[Operation]Verdict{Capture: Already}

	// keyGone: the key is no longer usable, which is what an expire wants. (developers-pay.line.me, expire pre-approved payment key: 1141,
	// 1282 to 1287 and 1290 to 1295 mean that it has expired already; the older manual adds 1190 and 1193)
	keyGone = map[Operation]Verdict{PreapprovedExpire: Already}

	// card: a card error is a definite refusal where a card is charged. On capture LINE Pay cancels the payment by itself
	// (developers-pay.line.me, capture), so only a look-up tells what is left of it. Void, refund and expire charge no card; LINE Pay does not
	// say what the code would mean there.
	card = map[Operation]Verdict{Capture: Unknown, Void: Unknown, Refund: Unknown, PreapprovedExpire: Unknown}

	// fatalCard: as card, and LINE Pay discards the registered key.
	fatalCard = map[Operation]Verdict{Capture: Unknown, Void: Unknown, Refund: Unknown, PreapprovedExpire: Already}
)

// codes is the one place where result codes get their meaning. Sources: the result code table of developers-pay.line.me/online-api-v3, its
// pages on each call, and for 1133, 1197, 1264, 1999 and the lists per call the manual before it. Which refusals are definite is inferred
// from those texts.
var codes = []Code{
	{"0000", "success; as the answer to check: the customer has not approved the payment yet", Done, nil},
	{"0110", "the customer has approved; the payment can be confirmed", Unknown, onlyCheck},
	{"0121", "the customer cancelled, or the time to approve ran out", Unknown, onlyCheck},
	{"0122", "the payment failed", Unknown, onlyCheck},
	{"0123", "the payment is completed", Unknown, onlyCheck},
	{"1101", "the customer is not a LINE Pay user", Refused, nil},
	{"1102", "the customer cannot make LINE Pay transactions at present", Refused, nil},
	{"1104", "LINE Pay does not know the merchant: check channel id and secret", ChannelFault, nil},
	{"1105", "LINE Pay is not available to the merchant at present", ChannelFault, nil},
	{"1106", "LINE Pay does not accept the request headers: check channel id, secret and, where one is set, the list of allowed addresses", ChannelFault, nil},
	{"1110", "the credit card cannot be used", Refused, nil},
	{"1124", "the amount is wrong, for example in its number of decimals", Refused, nil},
	{"1133", "the one-time key is not valid (offline payments)", Refused, nil},
	{"1141", "the customer's account is not in order; a registered key is discarded", Refused, keyGone},
	{"1142", "the customer's balance is too low", Refused, nil},
	{"1145", "the payment is in progress", Already, nil},
	{"1150", "there is no such transaction; a payment that was requested but not confirmed counts as none", Refused, nil},
	{"1152", "the transaction is a duplicate: this call has been carried out before", Already, nil},
	{"1153", "the amount or currency differs from the requested one", Refused, nil},
	{"1154", "the means of payment behind the registered key is not available", Refused, nil},
	{"1155", "the transaction id is wrong, or its transaction is of a kind that this call does not take", Refused, onCapture},
	{"1159", "there is no such payment request", Refused, nil},
	{"1163", "the time in which the payment could be refunded is over", Refused, nil},
	{"1164", "the amount is more than what is left to refund", Refused, nil},
	{"1165", "the payment has been refunded or voided already; nothing is left", Already, nil},
	{"1169", "the customer has not chosen a means of payment and approved yet", Refused, nil},
	{"1170", "the customer's balance changed meanwhile; nothing was charged", Refused, nil},
	{"1172", "there is a transaction with this order id already", Already, nil},
	{"1177", "more than 100 transactions were asked for", Refused, nil},
	{"1178", "the merchant has no contract for this currency", Refused, nil},
	{"1179", "the call is not possible in the state that the payment is in", Refused, onCapture},
	{"1180", "the time to confirm the payment is over", Refused, nil},
	{"1183", "the amount is below the minimum", Refused, nil},
	{"1184", "the amount is above the maximum, or more than was authorised", Refused, nil},
	{"1190", "there is no such registered key", Refused, keyGone},
	{"1193", "the registered key has expired", Refused, keyGone},
	{"1194", "the merchant has no contract for registered keys", Refused, nil},
	{"1197", "a payment with this registered key is being carried out", Already, nil},
	{"1198", "the same call is being carried out", Already, nil},
	{"1199", "internal error at LINE Pay during the call; on capture LINE Pay cancels the payment by itself", Unknown, nil},
	{"1264", "error of the electronic wallet behind the payment (iPASS, Taiwan)", Refused, nil},
	{"1280", "the card payment failed for the moment", Refused, card},
	{"1281", "the card payment failed", Refused, card},
	{"1282", "the card was not authorised", Refused, fatalCard},
	{"1283", "the payment was denied on suspicion of fraud", Refused, fatalCard},
	{"1284", "card payments are suspended for the moment", Refused, fatalCard},
	{"1285", "card details are missing", Refused, fatalCard},
	{"1286", "card details are wrong", Refused, fatalCard},
	{"1287", "the card has expired", Refused, fatalCard},
	{"1288", "the balance of the card's account is too low", Refused, card},
	{"1289", "the card's limit is exceeded", Refused, card},
	{"1290", "the card's limit for one payment is exceeded", Refused, fatalCard},
	{"1291", "the card is reported stolen", Refused, fatalCard},
	{"1292", "the card is suspended", Refused, fatalCard},
	{"1293", "the card's verification number is wrong", Refused, fatalCard},
	{"1294", "the card is blacklisted", Refused, fatalCard},
	{"1295", "the card number is wrong", Refused, fatalCard},
	{"1296", "the card cannot be charged with this amount", Refused, card},
	{"1298", "the card was declined", Refused, card},
	{"190X", "passing error; LINE Pay asks for the same call again (1900 to 1909)", Retry, nil},
	{"1999", "LINE Pay took the call for a repeat that differs from the first one; it asks for the same call again", Retry, nil},
	{"2024", "the merchant's limit is exceeded", Refused, nil},
	{"2042", "the merchant's reserve for refunds is too low", Refused, nil},
	{"2101", "a parameter is wrong", Refused, nil},
	{"2102", "the body is not the JSON that LINE Pay expects", Refused, nil},
	{"2103", "a parameter is not allowed, for example capture false without a contract for it", Refused, nil},
	{"2104", "the request is not valid", Refused, nil},
	{"9000", "internal error at LINE Pay", Unknown, nil},
}
