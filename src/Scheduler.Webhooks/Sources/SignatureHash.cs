namespace Scheduler.Webhooks.Sources;

/// <summary>The hash of an HMAC.</summary>
public enum SignatureHash
{
    /// <summary>HMAC-SHA-256.</summary>
    Sha256 = 0,

    /// <summary>HMAC-SHA-512.</summary>
    Sha512 = 1,

    /// <summary>HMAC-SHA-1, only for senders that know nothing newer. It is not broken as an HMAC, but nothing new should use it.</summary>
    Sha1 = 2,
}

/// <summary>How a signature is written in its header.</summary>
public enum SignatureEncoding
{
    /// <summary>Hexadecimal digits of either case.</summary>
    Hex = 0,

    /// <summary>Base64 with padding (RFC 4648 section 4).</summary>
    Base64 = 1,
}
