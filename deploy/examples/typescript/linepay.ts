// Messages of linepay-worker, as its JSON Schemas have them.
// Generated: "linepayctl schemas typescript" prints this file.
//
// Ids and amounts are strings. Calculate with a decimal library, never with numbers. Later versions may add members to events, and events.

/** A JSON number or a decimal string, read exactly and compared by value. More than 0; at most two decimals, and none in TWD and JPY. */
export type Amount = string;

/** Names a command for ever. */
export type CommandRef = {
  /** The command's source. */
  source: string;
  /** The command's id. */
  id: string;
};

/** ISO 4217 code; it must be the merchant's contract currency. TWD and JPY have no decimals, THB and USD have two. */
export type Currency = "TWD" | "THB" | "USD" | "JPY";

/** A decimal string. */
export type Decimal = string;

/** LINE Pay's id of a payment or a refund, as a string of digits. */
export type Digits = string;

/** The merchant's id of the payment, 1 to 100 characters. */
export type OrderId = string;

/** A JSON number or a decimal string, read exactly and compared by value. 0 or more; at most two decimals, and none in TWD and JPY. */
export type PartAmount = string;

/** The means of payment and their shares; refunds do not reduce them. */
export type PayInfo = Array<{
  /** BALANCE, CREDIT_CARD, POINT or DISCOUNT. */
  method?: string;
  /** A decimal string. */
  amount: Decimal;
  /** The name that the customer gave the card. */
  creditCardNickname?: string;
  /** VISA, MASTER, AMEX, DINERS or JCB. */
  creditCardBrand?: string;
  /** The last four digits. */
  maskedCreditCardNumber?: string;
}>;

/** A JSON number or a decimal string, read exactly and compared by value. A discount is a product with a negative price. */
export type Price = string;

/** A JSON number or a decimal string, read exactly and compared by value. 0 or more. */
export type Quantity = string;

/** The merchant's own name of a refund: two refund commands with one refundId are one refund. */
export type RefundId = string;

/** A key that a confirmed PREAPPROVED payment has issued. It lets its holder charge the customer: keep it secret. */
export type RegKey = string;

/** RFC 3339, with at most nine digits of a second. */
export type Time = string;

/** LINE Pay's id of a payment: 1 to 2^63-1. Send a string of digits: most JSON writers would round the number. */
export type TransactionId = string;

/** What an operator does, put on record before it is done. Published on linepay.audit.<channel>.<action>. CloudEvents 1.0, structured mode. */
export interface AuditEntry {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** A UUID; every action has an entry of its own. */
  id: string;
  /** Always /linepayctl. */
  source: "/linepayctl";
  /** linepay.audit.<action>.v1, as its data says. */
  type: "linepay.audit.replay.v1" | "linepay.audit.resolve.v1" | "linepay.audit.drop.v1" | "linepay.audit.pause.v1" | "linepay.audit.resume.v1";
  /** The NATS subject: linepay.audit.<channel>.<action>, as its data says. */
  subject: string;
  /** When the entry was written. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** What is done. Later versions may add members. */
  data: {
    /** What the operator does. */
    action: "replay" | "resolve" | "drop" | "pause" | "resume";
    /** Who does it, as linepayctl was told. */
    operator: string;
    /** The machine it is done from. */
    host: string;
    /** Why, in the operator's words. */
    reason?: string;
    /** The channel's name. */
    channel: string;
    /** resolve: what is put on record; or, in an entry after that, that it was refused. */
    outcome?: string;
    /** resolve: what that rests on; or why it was refused. */
    evidence?: string;
    /** The dead letter's sequence in LINEPAY_DEADLETTERS. */
    deadLetter?: number;
    /** Why the command was parked. */
    reasonParked?: string;
    /** The command; absent where it cannot be read. */
    command?: CommandRef;
    /** The operation that its subject names. */
    operation?: string;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** The merchant's id of the payment. */
    orderId?: string;
    /** LINE Pay's id of the payment, a string of digits. */
    transactionId?: string;
  };
}

/** Takes held money, all of it or less; the rest is released. Published on linepay.commands.<channel>.capture. */
export interface CommandCapture {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.capture.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** The payment. */
    transactionId: TransactionId;
    /** The payment's order. */
    orderId: OrderId;
    /** A JSON number or a decimal string, read exactly and compared by value. More than 0; at most two decimals, and none in TWD and JPY. */
    amount: Amount;
    /** ISO 4217 code; it must be the merchant's contract currency. TWD and JPY have no decimals, THB and USD have two. */
    currency: Currency;
  };
}

/** Asks how far a payment request has come. Published on linepay.commands.<channel>.check. */
export interface CommandCheck {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.check.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** The payment request. */
    transactionId: TransactionId;
    /** Its order, for the event. */
    orderId?: OrderId;
  };
}

/** Takes, or holds, the money of an authenticated payment. Amount and currency must be those of the request. Published on linepay.commands.<channel>.confirm. */
export interface CommandConfirm {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.confirm.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** The payment. */
    transactionId: TransactionId;
    /** The payment's order. */
    orderId: OrderId;
    /** A JSON number or a decimal string, read exactly and compared by value. More than 0; at most two decimals, and none in TWD and JPY. */
    amount: Amount;
    /** ISO 4217 code; it must be the merchant's contract currency. TWD and JPY have no decimals, THB and USD have two. */
    currency: Currency;
  };
}

/** Asks for payments by id, at most 100 ids together. Published on linepay.commands.<channel>.details. */
export interface CommandDetails {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.details.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** Payments or refunds. */
    transactionIds?: Array<TransactionId>;
    /** Orders. */
    orderIds?: Array<OrderId>;
  };
}

/** Asks whether a key can be used. Published on linepay.commands.<channel>.preapproved-check. */
export interface CommandPreapprovedCheck {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.preapproved-check.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** A key that a confirmed PREAPPROVED payment has issued. It lets its holder charge the customer: keep it secret. */
    regKey: RegKey;
    /** With a minimal authorization of the card. */
    creditCardAuth?: boolean;
  };
}

/** Discards a key. Published on linepay.commands.<channel>.preapproved-expire. */
export interface CommandPreapprovedExpire {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.preapproved-expire.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** A key that a confirmed PREAPPROVED payment has issued. It lets its holder charge the customer: keep it secret. */
    regKey: RegKey;
  };
}

/** Takes, or holds, money with a key. Published on linepay.commands.<channel>.preapproved-pay. */
export interface CommandPreapprovedPay {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.preapproved-pay.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** A key that a confirmed PREAPPROVED payment has issued. It lets its holder charge the customer: keep it secret. */
    regKey: RegKey;
    /** The order to be paid. */
    orderId: OrderId;
    /** What the customer reads. */
    productName: string;
    /** A JSON number or a decimal string, read exactly and compared by value. More than 0; at most two decimals, and none in TWD and JPY. */
    amount: Amount;
    /** ISO 4217 code; it must be the merchant's contract currency. TWD and JPY have no decimals, THB and USD have two. */
    currency: Currency;
    /** false only holds the money; true where absent. */
    capture?: boolean;
  };
}

/** Gives money back: refundAmount under the name refundId, or all that is left where both are absent. Published on linepay.commands.<channel>.refund. */
export interface CommandRefund {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.refund.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** The payment, not an earlier refund. */
    transactionId: TransactionId;
    /** The payment's order. */
    orderId: OrderId;
  } & ({
    /** How much; with refundId. */
    refundAmount: Amount;
    /** The merchant's own name of a refund: two refund commands with one refundId are one refund. */
    refundId: RefundId;
  } | { refundAmount?: never; refundId?: never; });
}

/** Reserves a payment page. The data is LINE Pay's own request body; optional members may be null. Published on linepay.commands.<channel>.request. */
export interface CommandRequest {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.request.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** The sum of the packages, with their fees. */
    amount: Amount;
    /** ISO 4217 code; it must be the merchant's contract currency. TWD and JPY have no decimals, THB and USD have two. */
    currency: Currency;
    /** The order to be paid; a new one for each attempt. */
    orderId: OrderId;
    /** Groups of products. */
    packages: Array<{
      /** The merchant's id of the package. */
      id: string;
      /** The sum of price times quantity of the products. */
      amount: PartAmount;
      /** A fee that the customer pays (v3). */
      userFee?: PartAmount | null;
      /** A name, such as the shop. */
      name?: string | null;
      /** What is bought. */
      products: Array<{
        /** The merchant's id of the product. */
        id?: string | null;
        /** Its name. */
        name: string;
        /** A picture, over HTTPS. */
        imageUrl?: string | null;
        /** How many. */
        quantity: Quantity;
        /** For one. */
        price: Price;
        /** For one, before the discount. */
        originalPrice?: Price | null;
      }>;
    }>;
    /** Where the customer goes. */
    redirectUrls: {
      /** The Android package to switch back to. */
      appPackageName?: string | null;
      /** Where the customer goes after approving. */
      confirmUrl?: string | null;
      /** Who calls confirmUrl: the customer's browser, LINE Pay's server, or nobody. */
      confirmUrlType?: "CLIENT" | "SERVER" | "NONE" | null;
      /** Where the customer goes after cancelling. */
      cancelUrl?: string | null;
    };
    /** The optional parts. */
    options?: {
      /** How it is paid. */
      payment?: {
        /** false: confirm only holds the money; true where absent. */
        capture?: boolean | null;
        /** PREAPPROVED: confirm issues a key. */
        payType?: "NORMAL" | "PREAPPROVED" | null;
      } | null;
      /** LINE Pay's page. */
      display?: {
        /** en, ja, ko, th, zh_TW or zh_CN. */
        locale?: string | null;
        /** Whether the browser of confirmUrl must be the one that began. */
        checkConfirmUrlBrowser?: boolean | null;
      } | null;
      /** More. */
      extra?: {
        /** The branch. */
        branchName?: string | null;
        /** The branch's id; LINE Pay cuts it to 32 characters. */
        branchId?: string | null;
        /** Limits for points (Taiwan). */
        promotionRestriction?: {
          /** The amount that cannot be paid with points. */
          useLimit?: Quantity | null;
          /** The amount that earns no points. */
          rewardLimit: Quantity;
        } | null;
      } | null;
      /** Promotions (v3, Taiwan). */
      events?: Array<{
        /** The promotion. */
        code: string;
        /** By amount. */
        totalAmount?: Quantity | null;
        /** By number of products. */
        productQuantity?: Quantity | null;
      }> | null;
      /** LINE accounts to add as friends (v3). */
      familyService?: {
        /** Lists of accounts. */
        addFriends?: Array<{
          /** lineAt. */
          type: string;
          /** The accounts. */
          idList: Array<string>;
        }> | null;
      } | null;
      /** What a key is registered for (v4). */
      regPayRequest?: {
        /** Whether it recurs. */
        regPayPeriodType?: "RECURRING" | "NON_RECURRING" | null;
        /** How often. */
        recurringPeriod?: "WEEK" | "MONTH" | "YEAR" | null;
        /** The day of the month. */
        recurringDay?: number | null;
        /** The day of the week. */
        recurringDayOfWeek?: "SUN" | "MON" | "TUE" | "WED" | "THU" | "FRI" | "SAT" | null;
        /** The month. */
        recurringMonth?: number | null;
        /** The price. */
        productPrice?: Quantity | null;
        /** The most at one time. */
        perTransactionLimit?: Quantity | null;
      } | null;
      /** The older v3 checkout. */
      shipping?: {
        /** Whether something is sent. */
        type?: "NO_SHIPPING" | "FIXED_ADDRESS" | "SHIPPING" | null;
        /** What sending costs. */
        feeAmount?: PartAmount | null;
        /** Where LINE Pay asks what sending costs. */
        feeInquiryUrl?: string | null;
        /** When it asks. */
        feeInquiryType?: "CONDITION" | "FIXED" | null;
        /** An address. */
        address?: {
          /** Country. */
          country?: string | null;
          /** Postal code. */
          postalCode?: string | null;
          /** State. */
          state?: string | null;
          /** City. */
          city?: string | null;
          /** Street and number. */
          detail?: string | null;
          /** More of the address. */
          optional?: string | null;
          /** Who receives it. */
          recipient?: {
            /** First name. */
            firstName?: string | null;
            /** Last name. */
            lastName?: string | null;
            /** First name in another script. */
            firstNameOptional?: string | null;
            /** Last name in another script. */
            lastNameOptional?: string | null;
            /** Address of e-mail. */
            email?: string | null;
            /** Telephone. */
            phoneNo?: string | null;
          } | null;
        } | null;
      } | null;
    } | null;
  };
}

/** Releases held money. Published on linepay.commands.<channel>.void. */
export interface CommandVoid {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** With source, names the command for ever. */
  id: string;
  /** Who sent the command. With id, names the command for ever. */
  source: string;
  /** Names the operation. */
  type: "linepay.command.void.v1";
  /** Of no meaning to the worker. */
  subject?: string | null;
  /** When the command was made. */
  time?: Time | null;
  /** When this has passed before LINE Pay was ever called, the command is rejected as expired. */
  expirytime?: Time | null;
  /** A JSON media type. */
  datacontenttype?: string | null;
  /** W3C trace context; anything else is ignored. */
  traceparent?: unknown;
  /** Not beside data. The worker also takes the data here instead, as base64 of its JSON, which this schema cannot describe. */
  data_base64?: null;
  /** What is asked for. Members that are not named here are refused. */
  data: {
    /** The payment. */
    transactionId: TransactionId;
    /** The payment's order. */
    orderId: OrderId;
  };
}

/** Money is held. Published on linepay.events.<channel>.authorized.<order>. */
export interface EventAuthorized {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.authorized.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId: string;
    /** LINE Pay's id of the payment. */
    transactionId: Digits;
    /** The amount of the operation. */
    amount: Decimal;
    /** ISO 4217 code. */
    currency: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason?: string;
    /** The means of payment and their shares; refunds do not reduce them. */
    payInfo?: PayInfo;
    /** Until when, as LINE Pay writes it. */
    authorizationExpireDate?: string;
  };
}

/** Money was taken: by a confirm with capture, a capture, or a payment with a key. Published on linepay.events.<channel>.captured.<order>. */
export interface EventCaptured {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.captured.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId: string;
    /** LINE Pay's id of the payment. */
    transactionId: Digits;
    /** The amount of the operation. */
    amount: Decimal;
    /** ISO 4217 code. */
    currency: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason?: string;
    /** The means of payment and their shares; refunds do not reduce them. */
    payInfo?: PayInfo;
  };
}

/** Answer to details. Published on linepay.events.<channel>.details.<order>. */
export interface EventDetails {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.details.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId?: string;
    /** LINE Pay's id of the payment. */
    transactionId?: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason?: string;
    /** The payments found, in LINE Pay's words, with ids and amounts as strings. */
    payments?: Array<{
      /** LINE Pay's id of a payment or a refund, as a string of digits. */
      transactionId?: Digits;
      /** When, as LINE Pay writes it. */
      transactionDate?: string;
      /** PAYMENT, PAYMENT_REFUND or PARTIAL_REFUND. */
      transactionType?: string;
      /** The order. */
      orderId?: string;
      /** AUTHORIZATION, CAPTURE, VOIDED_AUTHORIZATION or EXPIRED_AUTHORIZATION. */
      payStatus?: string;
      /** The payment, where a refund was asked for. */
      originalTransactionId?: Digits;
      /** What the customer read. */
      productName?: string;
      /** The merchant. */
      merchantName?: string;
      /** ISO 4217 code. */
      currency?: string;
      /** Until when money is held, as LINE Pay writes it. */
      authorizationExpireDate?: string;
      /** The means of payment and their shares; refunds do not reduce them. */
      payInfo?: PayInfo;
      /** Refunds so far. */
      refundList?: Array<{
        /** LINE Pay's id of a payment or a refund, as a string of digits. */
        refundTransactionId?: Digits;
        /** Negative. */
        refundAmount: Decimal;
        /** When. */
        refundTransactionDate?: string;
        /** PAYMENT_REFUND or PARTIAL_REFUND. */
        transactionType?: string;
      }>;
      /** Groups of products, as they were requested. */
      packages?: Array<{
        /** The merchant's id of the package. */
        id?: string;
        /** A name, such as the shop. */
        name?: string;
        /** The sum of its products. */
        amount: Decimal;
        /** A fee that the customer pays. */
        userFee?: Decimal;
        /** The same, under its other name. */
        userFeeAmount?: Decimal;
        /** What was bought. */
        products?: Array<{
          /** The merchant's id of the product. */
          id?: string;
          /** Its name. */
          name: string;
          /** A picture. */
          imageUrl?: string;
          /** How many. */
          quantity: Decimal;
          /** For one. */
          price: Decimal;
          /** For one, before the discount. */
          originalPrice?: Decimal;
        }>;
      }>;
      /** Promotions. */
      events?: Array<{
        /** The promotion. */
        code: string;
        /** By amount. */
        totalAmount?: Decimal;
        /** By number of products. */
        productQuantity?: Decimal;
      }>;
      /** What the customer chose in the older v3 checkout. */
      shipping?: {
        /** How it is sent. */
        methodId?: string;
        /** What sending costs. */
        feeAmount?: Decimal;
        /** Where to. */
        address?: {
          /** Country. */
          country?: string;
          /** Postal code. */
          postalCode?: string;
          /** State. */
          state?: string;
          /** City. */
          city?: string;
          /** Street and number. */
          detail?: string;
          /** More of the address. */
          optional?: string;
          /** Who receives it. */
          recipient?: {
            /** First name. */
            firstName?: string;
            /** Last name. */
            lastName?: string;
            /** First name in another script. */
            firstNameOptional?: string;
            /** Last name in another script. */
            lastNameOptional?: string;
            /** Address of e-mail. */
            email?: string;
            /** Telephone. */
            phoneNo?: string;
          };
        };
      };
      /** Who provides the payment. */
      paymentProvider?: string;
    }>;
  };
}

/** Another command had done this operation already; no call was made. Published on linepay.events.<channel>.duplicate.<order>. */
export interface EventDuplicate {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.duplicate.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId?: string;
    /** LINE Pay's id of the payment. */
    transactionId?: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason?: string;
    /** The other command and its event. */
    of: {
      /** Names a command for ever. */
      command: CommandRef;
      /** The id of its event. */
      eventId: string;
      /** The type of its event. */
      eventType: string;
      /** The NATS subject of its event. */
      eventSubject: string;
    };
  };
}

/** LINE Pay definitely refused; this command moved no money. Published on linepay.events.<channel>.failed.<order>. */
export interface EventFailed {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.failed.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId?: string;
    /** LINE Pay's id of the payment. */
    transactionId?: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason: string;
  };
}

/** The command is in dead letters. Published on linepay.events.<channel>.parked.<order>. */
export interface EventParked {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.parked.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId?: string;
    /** LINE Pay's id of the payment. */
    transactionId?: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why. */
    reason: "invalid" | "exhausted" | "unresolved" | "poison";
    /** Whether its money moved. */
    moneyMoved: "no" | "unknown";
  };
}

/** Answer to preapproved-check and preapproved-expire; beside captured or authorized, the key that a confirm has issued. Published on linepay.events.<channel>.preapproval.<order>. */
export interface EventPreapproval {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.preapproval.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId?: string;
    /** LINE Pay's id of the payment. */
    transactionId?: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason?: string;
    /** Whether the key can be used. */
    usable?: boolean;
    /** The key, only where it was just issued. Secret. */
    regKey?: string;
    /** A key was issued in an answer that was lost; the customer must register again. */
    regKeyLost?: boolean;
  };
}

/** Money was given back. Published on linepay.events.<channel>.refunded.<order>. */
export interface EventRefunded {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.refunded.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId: string;
    /** LINE Pay's id of the payment. */
    transactionId: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason?: string;
    /** LINE Pay's id of the refund. */
    refundTransactionId?: Digits;
    /** How much. */
    refundAmount: Decimal;
    /** When, as LINE Pay writes it. */
    refundTransactionDate?: string;
  };
}

/** The command was never sent to LINE Pay. Published on linepay.events.<channel>.rejected.<order>. */
export interface EventRejected {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.rejected.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId?: string;
    /** LINE Pay's id of the payment. */
    transactionId?: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why. */
    reason: "invalid" | "conflict" | "expired";
    /** The rules that it breaks. */
    errors?: Array<{
      /** JSON pointer into the command. */
      path: string;
      /** The rule. */
      message: string;
    }>;
  };
}

/** The payment page is ready. Published on linepay.events.<channel>.requested.<order>. */
export interface EventRequested {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.requested.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId?: string;
    /** LINE Pay's id of the payment. */
    transactionId?: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason?: string;
    /** LINE Pay's page. */
    paymentUrl: {
      /** For a browser. */
      web?: string;
      /** For the LINE app. */
      app?: string;
    };
    /** What the customer can type into the LINE app instead. */
    paymentAccessToken?: string;
    /** There where the confirm will issue a key. */
    payType?: "PREAPPROVED";
  };
}

/** Answer to check. Published on linepay.events.<channel>.status.<order>. */
export interface EventStatus {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.status.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId?: string;
    /** LINE Pay's id of the payment. */
    transactionId?: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason?: string;
    /** How far the payment request has come. */
    status: "waiting" | "authenticated" | "cancelled" | "failed" | "completed";
  };
}

/** Held money was released. Published on linepay.events.<channel>.voided.<order>. */
export interface EventVoided {
  /** The version of CloudEvents. */
  specversion: "1.0";
  /** UUIDv5; the same outcome always has the same id. */
  id: string;
  /** /linepay-worker/<channel>. */
  source: string;
  /** Names the event. */
  type: "linepay.event.voided.v1";
  /** The orderId; absent where there is no order. */
  subject?: string;
  /** When the outcome was settled. */
  time: Time;
  /** Always application/json. */
  datacontenttype: "application/json";
  /** W3C trace context. */
  traceparent?: string;
  /** What happened. */
  data: {
    /** The channel's name. */
    channel: string;
    /** What the command asked for. */
    operation: "request" | "check" | "confirm" | "capture" | "void" | "refund" | "details" | "preapproved-check" | "preapproved-pay" | "preapproved-expire";
    /** The command that this event answers. */
    command: CommandRef;
    /** The merchant's id of the payment. */
    orderId: string;
    /** LINE Pay's id of the payment. */
    transactionId: Digits;
    /** The amount of the operation. */
    amount?: Decimal;
    /** ISO 4217 code. */
    currency?: string;
    /** LINE Pay's code. */
    returnCode?: string;
    /** LINE Pay's text, for people. */
    returnMessage?: string;
    /** What told the outcome: LINE Pay's answer, a look-up, or an operator. */
    settledBy?: "response" | "lookup" | "operator";
    /** Calls made to LINE Pay. */
    calls?: number;
    /** What the guard calls the operation. */
    operationKey?: string;
    /** Of the command's data. */
    fingerprint?: string;
    /** Why, or what an operator gave as the reason. */
    reason?: string;
  };
}

/** The command of each operation, on linepay.commands.<channel>.<operation>. */
export interface Commands {
  request: CommandRequest;
  check: CommandCheck;
  confirm: CommandConfirm;
  capture: CommandCapture;
  void: CommandVoid;
  refund: CommandRefund;
  details: CommandDetails;
  "preapproved-check": CommandPreapprovedCheck;
  "preapproved-pay": CommandPreapprovedPay;
  "preapproved-expire": CommandPreapprovedExpire;
}

/** The event of each name, on linepay.events.<channel>.<name>.<order>. */
export interface Events {
  requested: EventRequested;
  status: EventStatus;
  authorized: EventAuthorized;
  captured: EventCaptured;
  voided: EventVoided;
  refunded: EventRefunded;
  details: EventDetails;
  preapproval: EventPreapproval;
  failed: EventFailed;
  rejected: EventRejected;
  duplicate: EventDuplicate;
  parked: EventParked;
}

export type Operation = keyof Commands;

/** Any command; type says which. */
export type Command = Commands[Operation];

export type EventName = keyof Events;

/** Any event; type says which. */
export type LinePayEvent = Events[EventName];
