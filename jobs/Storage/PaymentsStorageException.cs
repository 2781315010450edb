namespace Payments.Jobs.Storage;

/// <summary>A folder, file or database of the payments jobs cannot be used. The message names place, reason and remedy, never a
/// secret.</summary>
public sealed class PaymentsStorageException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">Place, reason and remedy.</param>
    /// <param name="innerException">What the system said.</param>
    public PaymentsStorageException(string message, Exception innerException)
        : base(message, innerException) { }
}
