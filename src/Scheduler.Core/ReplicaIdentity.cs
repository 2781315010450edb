using System.Security.Cryptography;

namespace Scheduler;

/// <summary>One worker process: its name and a random part that is new with every start. Immutable and thread-safe.</summary>
public sealed record ReplicaIdentity
{
    private ReplicaIdentity(string name, string id)
    {
        Name = name;
        Id = id;
    }

    /// <summary>What people call the replica; need not be unique.</summary>
    public string Name { get; }

    /// <summary>The name and a random part, unique per start; letters, digits, '.', '_' and '-' only.</summary>
    public string Id { get; }

    /// <summary>Makes the identity of this start.</summary>
    /// <param name="name">1 to 100 characters out of letters, digits, '.', '_' and '-'; default: host name and process id.</param>
    /// <exception cref="ArgumentException">The name has another form.</exception>
    public static ReplicaIdentity Create(string? name = null)
    {
        name ??= Clean($"{Environment.MachineName}-{Environment.ProcessId}");
        if (name.Length is 0 or > 100 || name != Clean(name))
        {
            throw new ArgumentException(
                $"'{name}' is no replica name: 1 to 100 characters out of A-Z, a-z, 0-9, '.', '_' and '-' are allowed.",
                nameof(name)
            );
        }
        return new ReplicaIdentity(name, $"{name}-{RandomNumberGenerator.GetHexString(8, lowercase: true)}");
    }

    private static string Clean(string text) =>
        string.Concat(text.Select(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-' ? c : '-'));
}
