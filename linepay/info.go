package linepay

// Answer is the envelope of everything LINE Pay says.
type Answer struct {
	// Code is the returnCode (or resultCode, in the other shape that error bodies have).
	Code string `json:"returnCode,omitzero"`
	// Message is LINE Pay's text, "-" when it has none. For people; never to be branched on.
	Message string `json:"returnMessage,omitzero"`
}

// Status is where a requested payment stands, as "check" tells it.
type Status string

// The five answers to check, with LINE Pay's codes. (developers-pay.line.me/online-api-v3/check-payment-request-status)
const (
	Waiting       Status = "waiting"       // 0000: the customer has not approved yet
	Authenticated Status = "authenticated" // 0110: approved, confirm now
	Cancelled     Status = "cancelled"     // 0121: cancelled by the customer, or the time to approve ran out
	Failed        Status = "failed"        // 0122
	Completed     Status = "completed"     // 0123: confirmed
)

// PayStatus is what became of a confirmed payment, as "details" tells it.
type PayStatus string

// LINE Pay's four values of payStatus. (developers-pay.line.me/online-api-v3/retrieve-payment-details)
const (
	StatusAuthorization PayStatus = "AUTHORIZATION"
	StatusCapture       PayStatus = "CAPTURE"
	StatusVoided        PayStatus = "VOIDED_AUTHORIZATION"
	StatusExpired       PayStatus = "EXPIRED_AUTHORIZATION"
)

// PayInfo is one means of payment and its share. Refunds do not reduce it.
type PayInfo struct {
	// Method is BALANCE, CREDIT_CARD, POINT or (older) DISCOUNT.
	Method             string `json:"method,omitzero"`
	Amount             Amount `json:"amount"`
	CreditCardNickname string `json:"creditCardNickname,omitzero"`
	CreditCardBrand    string `json:"creditCardBrand,omitzero"`
	// MaskedCreditCardNumber shows the last four digits only.
	MaskedCreditCardNumber string `json:"maskedCreditCardNumber,omitzero"`
}

// PaymentURL is where the customer pays: on the web, or in the LINE app.
type PaymentURL struct {
	Web string `json:"web,omitzero"`
	App string `json:"app,omitzero"`
}

// RequestInfo is a payment page that is ready.
type RequestInfo struct {
	Answer
	TransactionID TransactionID `json:"transactionId,omitzero"`
	PaymentURL    PaymentURL    `json:"paymentUrl,omitzero"`
	// PaymentAccessToken can be typed into the LINE app instead of scanning.
	PaymentAccessToken string `json:"paymentAccessToken,omitzero"`
}

// CheckInfo is the state of a payment request.
type CheckInfo struct {
	Answer
	Status Status `json:"status,omitzero"`
}

// ConfirmInfo is a confirmed payment: captured, or only authorised.
type ConfirmInfo struct {
	Answer
	OrderID       string        `json:"orderId,omitzero"`
	TransactionID TransactionID `json:"transactionId,omitzero"`
	// AuthorizationExpireDate (ISO 8601) is there only when the payment was requested with capture false: the money is held until then.
	AuthorizationExpireDate string `json:"authorizationExpireDate,omitzero"`
	// RegKey is there only for payType PREAPPROVED, and nowhere else to be had. It lets the merchant charge the customer: a secret.
	RegKey            string             `json:"regKey,omitzero"`
	PayInfo           []PayInfo          `json:"payInfo,omitzero"`
	Packages          []PaymentPackage   `json:"packages,omitzero"`
	MerchantReference *MerchantReference `json:"merchantReference,omitzero"`
	Shipping          *Shipping          `json:"shipping,omitzero"`
	// PaymentProvider is TSP or EPI (v4).
	PaymentProvider string `json:"paymentProvider,omitzero"`
}

// CaptureInfo is a captured payment.
type CaptureInfo struct {
	Answer
	TransactionID   TransactionID `json:"transactionId,omitzero"`
	OrderID         string        `json:"orderId,omitzero"`
	PayInfo         []PayInfo     `json:"payInfo,omitzero"`
	PaymentProvider string        `json:"paymentProvider,omitzero"`
}

// RefundInfo is a refund that was made; its id differs from the payment's.
type RefundInfo struct {
	Answer
	RefundTransactionID TransactionID `json:"refundTransactionId,omitzero"`
	// RefundTransactionDate is ISO 8601.
	RefundTransactionDate string `json:"refundTransactionDate,omitzero"`
}

// PreapprovedPayment is the body of a payment with a registered key.
type PreapprovedPayment struct {
	// ProductName is at most 4000 long.
	ProductName string `json:"productName,omitzero"`
	Amount      Amount `json:"amount"`
	Currency    string `json:"currency"`
	// OrderID must stay the same over repeats: it is what LINE Pay recognises them by (1172).
	OrderID string `json:"orderId"`
	// Capture false only authorises; LINE Pay's default is true.
	Capture *bool `json:"capture,omitzero"`
}

// PreapprovedInfo is a payment made with a registered key.
type PreapprovedInfo struct {
	Answer
	TransactionID   TransactionID `json:"transactionId,omitzero"`
	TransactionDate string        `json:"transactionDate,omitzero"`
	OrderID         string        `json:"orderId,omitzero"`
	// AuthorizationExpireDate is there only with capture false.
	AuthorizationExpireDate string `json:"authorizationExpireDate,omitzero"`
	PaymentProvider         string `json:"paymentProvider,omitzero"`
}

// DetailsQuery asks for payments by transaction ids (of payments or refunds), by order ids, or both; at least one, at most 100 in all.
type DetailsQuery struct {
	TransactionIDs []TransactionID
	OrderIDs       []string
}

// DetailsInfo lists the payments found. What was requested but never confirmed is not found: LINE Pay answers 1150 for it.
type DetailsInfo struct {
	Answer
	Payments []Payment `json:"payments"`
}

// Payment is a confirmed payment, or a refund when it was asked for by a refund's id.
type Payment struct {
	TransactionID   TransactionID `json:"transactionId,omitzero"`
	TransactionDate string        `json:"transactionDate,omitzero"`
	// TransactionType is PAYMENT, PAYMENT_REFUND or PARTIAL_REFUND.
	TransactionType         string    `json:"transactionType,omitzero"`
	PayStatus               PayStatus `json:"payStatus,omitzero"`
	ProductName             string    `json:"productName,omitzero"`
	MerchantName            string    `json:"merchantName,omitzero"`
	Currency                string    `json:"currency,omitzero"`
	AuthorizationExpireDate string    `json:"authorizationExpireDate,omitzero"`
	OrderID                 string    `json:"orderId,omitzero"`
	// OriginalTransactionID is the payment's id when TransactionID is a refund's.
	OriginalTransactionID TransactionID    `json:"originalTransactionId,omitzero"`
	PayInfo               []PayInfo        `json:"payInfo,omitzero"`
	RefundList            []RefundEntry    `json:"refundList,omitzero"`
	Packages              []PaymentPackage `json:"packages,omitzero"`
	Events                []PromotionEvent `json:"events,omitzero"`
	Shipping              *Shipping        `json:"shipping,omitzero"`
	PaymentProvider       string           `json:"paymentProvider,omitzero"`
}

// RefundEntry is one refund of a payment.
type RefundEntry struct {
	RefundTransactionID TransactionID `json:"refundTransactionId,omitzero"`
	// TransactionType is PAYMENT_REFUND for one refund of the whole, else PARTIAL_REFUND, even for the one that leaves nothing.
	TransactionType string `json:"transactionType,omitzero"`
	// RefundAmount is negative.
	RefundAmount          Amount `json:"refundAmount"`
	RefundTransactionDate string `json:"refundTransactionDate,omitzero"`
}

// PaymentPackage is a package as LINE Pay tells it back.
type PaymentPackage struct {
	ID     string `json:"id,omitzero"`
	Name   string `json:"name,omitzero"`
	Amount Amount `json:"amount"`
	// UserFee and UserFeeAmount are two names that v3 has for one thing.
	UserFee       Amount    `json:"userFee,omitzero"`
	UserFeeAmount Amount    `json:"userFeeAmount,omitzero"`
	Products      []Product `json:"products,omitzero"`
}

// MerchantReference lists cards of the merchant's that the customer has linked (Taiwan).
type MerchantReference struct {
	AffiliateCards []AffiliateCard `json:"affiliateCards,omitzero"`
}

// AffiliateCard is a loyalty card or an invoice carrier.
type AffiliateCard struct {
	// CardType is for example MOBILE_CARRIER.
	CardType string `json:"cardType,omitzero"`
	CardID   string `json:"cardId,omitzero"`
}

// Shipping is what the customer chose in the older v3 checkout.
type Shipping struct {
	MethodID  string           `json:"methodId,omitzero"`
	FeeAmount *Amount          `json:"feeAmount,omitempty"`
	Address   *ShippingAddress `json:"address,omitzero"`
}
