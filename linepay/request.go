package linepay

// PaymentRequest is the body of "request payment": what is bought, and where the customer is sent afterwards. Field names are LINE Pay's
// (developers-pay.line.me/online-api-v3/request-payment); lengths are in characters. Fields that only v3, only v4 or only the older checkout
// know are marked; the client sends what is set and leaves the judgement to LINE Pay.
//
// Marshalled as it stands, amounts are decimal strings, the form they have on the bus. The client itself writes them to LINE Pay as numbers.
type PaymentRequest struct {
	// Amount is the sum of the packages' amounts, plus (v3) their userFee and the shipping fee.
	Amount Amount `json:"amount"`
	// Currency is the merchant's contract currency, else 1178.
	Currency string `json:"currency"`
	// OrderID is the merchant's own id, at most 100.
	OrderID      string           `json:"orderId"`
	Packages     []RequestPackage `json:"packages"`
	RedirectURLs RedirectURLs     `json:"redirectUrls"`
	Options      *RequestOptions  `json:"options,omitzero"`
}

// RequestPackage is a group of products, such as one shop's share of a cart.
type RequestPackage struct {
	// ID is at most 50 long.
	ID string `json:"id"`
	// Amount is the sum of price × quantity of the products.
	Amount Amount `json:"amount"`
	// UserFee is a fee that the customer pays (v3).
	UserFee Amount `json:"userFee,omitzero"`
	// Name is at most 100 long.
	Name     string    `json:"name,omitzero"`
	Products []Product `json:"products"`
}

// Product is one line of a package, in requests and in details.
type Product struct {
	// ID is at most 50 long, Name 4000, ImageURL 500.
	ID            string `json:"id,omitzero"`
	Name          string `json:"name"`
	ImageURL      string `json:"imageUrl,omitzero"`
	Quantity      Amount `json:"quantity"`
	Price         Amount `json:"price"`
	OriginalPrice Amount `json:"originalPrice,omitzero"`
}

// RedirectURLs says where the customer goes after approving or cancelling.
type RedirectURLs struct {
	// AppPackageName is the Android package to switch back to.
	AppPackageName string `json:"appPackageName,omitzero"`
	// ConfirmURL and CancelURL, at most 500 long each, may be absent only with ConfirmURLType NONE.
	ConfirmURL string `json:"confirmUrl,omitzero"`
	// ConfirmURLType is CLIENT (LINE Pay's default), SERVER or NONE.
	ConfirmURLType string `json:"confirmUrlType,omitzero"`
	CancelURL      string `json:"cancelUrl,omitzero"`
}

// RequestOptions holds the optional parts of a payment request.
type RequestOptions struct {
	Payment *PaymentOptions `json:"payment,omitzero"`
	Display *DisplayOptions `json:"display,omitzero"`
	Extra   *ExtraOptions   `json:"extra,omitzero"`
	// Events are for Taiwan (v3).
	Events []PromotionEvent `json:"events,omitzero"`
	// FamilyService is v3 only.
	FamilyService *FamilyService `json:"familyService,omitzero"`
	// RegPayRequest is v4 only.
	RegPayRequest *RegPayRequest `json:"regPayRequest,omitzero"`
	// Shipping belongs to the older v3 checkout.
	Shipping *ShippingOptions `json:"shipping,omitzero"`
}

// PaymentOptions chooses between capture at confirm and a later one, and between a single payment and a registered key.
type PaymentOptions struct {
	// Capture false means: confirm only authorises. LINE Pay's default is true; false needs a contract in Taiwan, else 2103.
	Capture *bool `json:"capture,omitzero"`
	// PayType is NORMAL (LINE Pay's default) or PREAPPROVED, which makes confirm issue a key and needs a contract, else 1194.
	PayType string `json:"payType,omitzero"`
}

// DisplayOptions shapes LINE Pay's page.
type DisplayOptions struct {
	// Locale is en (LINE Pay's default), ja, ko, th, zh_TW or zh_CN.
	Locale                 string `json:"locale,omitzero"`
	CheckConfirmURLBrowser *bool  `json:"checkConfirmUrlBrowser,omitzero"`
}

// ExtraOptions names the branch, and limits points (Taiwan).
type ExtraOptions struct {
	// BranchName is at most 200 long, BranchID 32.
	BranchName           string                `json:"branchName,omitzero"`
	BranchID             string                `json:"branchId,omitzero"`
	PromotionRestriction *PromotionRestriction `json:"promotionRestriction,omitzero"`
}

// PromotionRestriction limits the amounts that earn points and that may be paid with them (Taiwan).
type PromotionRestriction struct {
	UseLimit    *Amount `json:"useLimit,omitempty"`
	RewardLimit Amount  `json:"rewardLimit"`
}

// PromotionEvent is a promotion that the payment takes part in: by amount or by number of products, never both.
type PromotionEvent struct {
	// Code is at most 30 long.
	Code            string  `json:"code"`
	TotalAmount     *Amount `json:"totalAmount,omitempty"`
	ProductQuantity *Amount `json:"productQuantity,omitempty"`
}

// FamilyService offers the customer LINE accounts to add (v3).
type FamilyService struct {
	AddFriends []AddFriends `json:"addFriends,omitzero"`
}

// AddFriends is a list of LINE accounts of one type, "lineAt".
type AddFriends struct {
	Type   string   `json:"type"`
	IDList []string `json:"idList"`
}

// RegPayRequest describes a recurring or repeated payment for which a key is registered (v4). What does not apply stays unset.
type RegPayRequest struct {
	// RegPayPeriodType is RECURRING or NON_RECURRING.
	RegPayPeriodType string `json:"regPayPeriodType,omitzero"`
	// RecurringPeriod is WEEK, MONTH or YEAR.
	RecurringPeriod string `json:"recurringPeriod,omitzero"`
	// RecurringDay is 1 to 31, RecurringMonth 1 to 12.
	RecurringDay *int `json:"recurringDay,omitzero"`
	// RecurringDayOfWeek is SUN to SAT.
	RecurringDayOfWeek  string  `json:"recurringDayOfWeek,omitzero"`
	RecurringMonth      *int    `json:"recurringMonth,omitzero"`
	ProductPrice        *Amount `json:"productPrice,omitempty"`
	PerTransactionLimit *Amount `json:"perTransactionLimit,omitempty"`
}

// ShippingOptions are those of the older v3 checkout.
type ShippingOptions struct {
	// Type is NO_SHIPPING (LINE Pay's default), FIXED_ADDRESS or SHIPPING.
	Type          string  `json:"type,omitzero"`
	FeeAmount     *Amount `json:"feeAmount,omitempty"`
	FeeInquiryURL string  `json:"feeInquiryUrl,omitzero"`
	// FeeInquiryType is CONDITION or FIXED.
	FeeInquiryType string           `json:"feeInquiryType,omitzero"`
	Address        *ShippingAddress `json:"address,omitzero"`
}

// ShippingAddress is an address of the older v3 checkout.
type ShippingAddress struct {
	Country    string     `json:"country,omitzero"`
	PostalCode string     `json:"postalCode,omitzero"`
	State      string     `json:"state,omitzero"`
	City       string     `json:"city,omitzero"`
	Detail     string     `json:"detail,omitzero"`
	Optional   string     `json:"optional,omitzero"`
	Recipient  *Recipient `json:"recipient,omitzero"`
}

// Recipient is the person at a [ShippingAddress].
type Recipient struct {
	FirstName         string `json:"firstName,omitzero"`
	LastName          string `json:"lastName,omitzero"`
	FirstNameOptional string `json:"firstNameOptional,omitzero"`
	LastNameOptional  string `json:"lastNameOptional,omitzero"`
	Email             string `json:"email,omitzero"`
	PhoneNo           string `json:"phoneNo,omitzero"`
}
