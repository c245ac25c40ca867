package simulator

import (
	"fmt"
	"time"

	"linepay-worker/linepay"
)

// Rules are the points where LINE Pay's pages are silent, contradict what was seen, or leave the figure to the merchant's contract.
// The zero value is LINE Pay as it is best known: a field left empty, zero or false takes its documented default.
//
// Evidence, in brackets: [doc] LINE Pay's current pages, [old manual] its retired manual, [seen] reported from its sandbox,
// [inferred] stated nowhere. Over HTTP the names are those of the json tags, durations are milliseconds, amounts decimal strings.
type Rules struct {
	// RefuseRepeatedNonce refuses with 1106 a nonce that the channel has used before. Default false [inferred: the old manual calls
	// the nonce one-time, clients that reuse it work].
	RefuseRepeatedNonce bool `json:"refuseRepeatedNonce"`
	// RefuseNumericStrings refuses with 2101 an amount sent as a JSON string ("1000"). Default false: it is read as a number
	// [inferred from shops that send strings].
	RefuseNumericStrings bool `json:"refuseNumericStrings"`
	// IgnoreLiteralScale counts only the decimals that the value needs: 20.0 TWD is then taken. Default false: the digits behind the
	// point of the literal count, so 20.0 TWD is 1124 [seen, on a refund; inferred for the other calls].
	IgnoreLiteralScale bool `json:"ignoreLiteralScale"`
	// LegacyErrorBody answers errors as {"resultCode":1104,"statusMessage":"…"}. Default false [doc: the overview page shows that form
	// for an error, all else shows returnCode].
	LegacyErrorBody bool `json:"legacyErrorBody"`
	// MerchantUnavailable answers every signed call 1105. Default false.
	MerchantUnavailable bool `json:"merchantUnavailable"`

	// RefuseSeparateCapture is a merchant without the contract for it: capture=false is 2103. Default false [seen].
	RefuseSeparateCapture bool `json:"refuseSeparateCapture"`
	// RefusePreapproved is a merchant without the contract for it: payType PREAPPROVED is 1194. Default false [doc].
	RefusePreapproved bool `json:"refusePreapproved"`
	// MinimumAmount: less is 1183. Default 0, and 0 itself is below it.
	MinimumAmount linepay.Amount `json:"minimumAmount"`
	// MaximumAmount: more is 1184. Default 0, no maximum.
	MaximumAmount linepay.Amount `json:"maximumAmount"`
	// Points is how much of each payment is paid with method POINT, the rest with PayMethod. Default 0.
	Points linepay.Amount `json:"points"`
	// PayMethod is payInfo's method: CREDIT_CARD (default [seen on the sandbox]) or BALANCE.
	PayMethod string `json:"payMethod"`

	// AcceptPaidOrder lets a request reserve an orderId for which a payment is confirmed already. Default false: 1172 [inferred from
	// the old manual's list of codes].
	AcceptPaidOrder bool `json:"acceptPaidOrder"`
	// OpenOrderCode answers a request for an orderId that another reservation, neither dead nor confirmed, holds, for example 1145.
	// Default "": accepted, with a new transaction id [seen].
	OpenOrderCode string `json:"openOrderCode"`
	// PrematureConfirmFails makes a confirm before the customer's authentication kill the reservation (check 0122), besides its 1169.
	// Default false [reported once from the sandbox, not by others].
	PrematureConfirmFails bool `json:"prematureConfirmFails"`

	// UnknownTransactionCode answers confirm, capture, void and refund for an id never issued. Default 1150 [seen, for look-ups].
	UnknownTransactionCode string `json:"unknownTransactionCode"`
	// RepeatedConfirmCode answers a confirm of a confirmed transaction. Default 1172 [seen]; 1152 is the other candidate [old manual].
	RepeatedConfirmCode string `json:"repeatedConfirmCode"`
	// DeadConfirmCode answers a confirm of a cancelled, expired or failed reservation. Default 1180 [doc for the expired, inferred].
	DeadConfirmCode string `json:"deadConfirmCode"`
	// WrongCurrencyCode answers a confirm or capture whose currency is not the request's. Default 1153 [inferred].
	WrongCurrencyCode string `json:"wrongCurrencyCode"`
	// RepeatedCaptureCode answers a capture of a captured payment. Default 1179 [inferred; 1155 and 1172 are candidates].
	RepeatedCaptureCode string `json:"repeatedCaptureCode"`
	// CaptureAfterVoidCode. Default 1179 [inferred].
	CaptureAfterVoidCode string `json:"captureAfterVoidCode"`
	// CaptureAfterExpiryCode. Default 1179 [inferred].
	CaptureAfterExpiryCode string `json:"captureAfterExpiryCode"`
	// CaptureAboveCode answers a capture of more than was authorised. Default 1184 [old manual]; 1153 is the other candidate [doc].
	CaptureAboveCode string `json:"captureAboveCode"`
	// VoidOfCapturedCode. Default 1155 [inferred].
	VoidOfCapturedCode string `json:"voidOfCapturedCode"`
	// VoidAfterExpiryCode. Default 1165: expiry has voided it [inferred].
	VoidAfterExpiryCode string `json:"voidAfterExpiryCode"`
	// RefundOfAuthorizedCode answers a refund of a payment that is authorised and not captured. Default 1155 [inferred].
	RefundOfAuthorizedCode string `json:"refundOfAuthorizedCode"`
	// RefundOfVoidedCode answers a refund of a voided or expired authorisation. Default 1155 [inferred].
	RefundOfVoidedCode string `json:"refundOfVoidedCode"`

	// DetailsAnyOf makes details with transaction ids and order ids answer what matches either. Default false: both [inferred].
	DetailsAnyOf bool `json:"detailsAnyOf"`
	// LookupLag is the age from which check and details see a confirm, capture, void or refund. Default 0: at once [inferred].
	LookupLag time.Duration `json:"lookupLagMs"`
	// CodesHaveConsequences gives a fault of kind "code" what such a code means at LINE Pay: 1199 and 1280 to 1298 on capture cancel
	// the authorisation; 1141, 1282 to 1287 and 1290 to 1295 on preapproved-pay discard the key [doc]. Default false, so that a fault
	// that strikes before the operation leaves all as it was.
	CodesHaveConsequences bool `json:"codesHaveConsequences"`

	// WaitingTime is how long a reservation waits for the customer. Default 20 minutes [old manual]. Negative: for ever.
	WaitingTime time.Duration `json:"waitingTimeMs"`
	// ConfirmTime is how long an authenticated payment waits for its confirm. Default 20 minutes [inferred]. Negative: for ever.
	ConfirmTime time.Duration `json:"confirmTimeMs"`
	// AuthorizationValidity is how long an authorisation can be captured. Default 30 days [inferred]. Negative: it is over at once.
	AuthorizationValidity time.Duration `json:"authorizationValidityMs"`
	// RefundPeriod is how long after capture a refund is possible, 1163 after. Default 365 days [inferred; it is in the contract].
	// Negative: it is over at once.
	RefundPeriod time.Duration `json:"refundPeriodMs"`
	// CallConfirmURL makes the simulator itself GET confirmUrl (once, 20 s at most) when confirmUrlType is SERVER and the customer
	// pays, as LINE Pay's servers do. Default false: SERVER then redirects the browser as CLIENT does, so that no request leaves the
	// simulator unasked.
	CallConfirmURL bool `json:"callConfirmUrl"`
}

const day = 24 * time.Hour

// withDefaults fills what is empty or zero.
func (r Rules) withDefaults() Rules {
	for _, field := range []struct {
		value    *string
		standard string
	}{
		{&r.PayMethod, "CREDIT_CARD"},
		{&r.UnknownTransactionCode, "1150"},
		{&r.RepeatedConfirmCode, "1172"},
		{&r.DeadConfirmCode, "1180"},
		{&r.WrongCurrencyCode, "1153"},
		{&r.RepeatedCaptureCode, "1179"},
		{&r.CaptureAfterVoidCode, "1179"},
		{&r.CaptureAfterExpiryCode, "1179"},
		{&r.CaptureAboveCode, "1184"},
		{&r.VoidOfCapturedCode, "1155"},
		{&r.VoidAfterExpiryCode, "1165"},
		{&r.RefundOfAuthorizedCode, "1155"},
		{&r.RefundOfVoidedCode, "1155"},
	} {
		if *field.value == "" {
			*field.value = field.standard
		}
	}
	for _, field := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&r.WaitingTime, 20 * time.Minute},
		{&r.ConfirmTime, 20 * time.Minute},
		{&r.AuthorizationValidity, 30 * day},
		{&r.RefundPeriod, 365 * day},
	} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	return r
}

// validate names the first field that cannot be obeyed.
func (r Rules) validate() error {
	for name, code := range map[string]string{
		"openOrderCode": r.OpenOrderCode, "unknownTransactionCode": r.UnknownTransactionCode,
		"repeatedConfirmCode": r.RepeatedConfirmCode, "deadConfirmCode": r.DeadConfirmCode, "wrongCurrencyCode": r.WrongCurrencyCode,
		"repeatedCaptureCode": r.RepeatedCaptureCode, "captureAfterVoidCode": r.CaptureAfterVoidCode,
		"captureAfterExpiryCode": r.CaptureAfterExpiryCode, "captureAboveCode": r.CaptureAboveCode,
		"voidOfCapturedCode": r.VoidOfCapturedCode, "voidAfterExpiryCode": r.VoidAfterExpiryCode,
		"refundOfAuthorizedCode": r.RefundOfAuthorizedCode, "refundOfVoidedCode": r.RefundOfVoidedCode,
	} {
		if code != "" && (!isResultCode(code) || code == "0000") {
			return fmt.Errorf("rules: %s must be a result code of four digits other than 0000, not %q", name, code)
		}
	}
	if r.LookupLag < 0 {
		return fmt.Errorf("rules: lookupLagMs must be 0 or more, not %d", r.LookupLag.Milliseconds())
	}
	if r.MinimumAmount.Sign() < 0 || r.MaximumAmount.Sign() < 0 || r.Points.Sign() < 0 {
		return fmt.Errorf("rules: minimumAmount, maximumAmount and points must be 0 or more")
	}
	return nil
}

// deadline is when a wait that starts now is over; the zero time is never.
func deadline(now time.Time, wait time.Duration) time.Time {
	if wait < 0 {
		return time.Time{}
	}
	return now.Add(wait)
}

func passed(now, limit time.Time) bool { return !limit.IsZero() && !now.Before(limit) }

func isResultCode(code string) bool {
	if len(code) != 4 {
		return false
	}
	for _, c := range code {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
