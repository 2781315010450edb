using System.Security.Cryptography;
using System.Text;

namespace Scheduler.Postgres.Signals;

/// <summary>Names of channels: those of different schemas, groups and purposes never meet, whatever is in their names.</summary>
internal static class ChannelName
{
    /// <summary>Makes a name of 42 bytes (PostgreSQL takes 63), to be used without quotes.</summary>
    public static string Of(params ReadOnlySpan<string> parts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var part in parts)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(part));
            hash.AppendData([0xFF]);
        }
        return $"scheduler_{Convert.ToHexStringLower(hash.GetHashAndReset()[..16])}";
    }
}
