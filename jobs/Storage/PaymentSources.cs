namespace Payments.Jobs.Storage;

/// <summary>Where a payment came from, as the column <c>source_file</c> has it: a file's name, or a source of webhooks.</summary>
internal static class PaymentSources
{
    /// <summary>A source of webhooks.</summary>
    public static string Webhook(string source) => $"webhook:{source}";
}
