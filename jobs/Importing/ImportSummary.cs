namespace Payments.Jobs.Importing;

/// <summary>What the import of one file did.</summary>
/// <param name="File">The file's name in the inbox.</param>
/// <param name="Imported">Payments that are new.</param>
/// <param name="AlreadyKnown">Payments that were there with the same content.</param>
/// <param name="Rejected">Lines that are in the quarantine.</param>
/// <param name="MovedTo">Where the file is now; <see langword="null"/> when it stays because it changed meanwhile.</param>
public sealed record ImportSummary(string File, long Imported, long AlreadyKnown, long Rejected, string? MovedTo);
