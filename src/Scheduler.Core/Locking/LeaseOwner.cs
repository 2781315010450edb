using System.Globalization;

namespace Scheduler.Locking;

/// <summary>Who has a grant: the replica and the number of the acquisition in it, so no two acquisitions share one.</summary>
/// <param name="Replica">The replica's id (<see cref="ReplicaIdentity.Id"/>).</param>
/// <param name="Acquisition">The number of the acquisition within the replica, from 1.</param>
public readonly record struct LeaseOwner(string Replica, long Acquisition)
{
    /// <summary>The owner value as stores keep it: <c>replica/acquisition</c> with the number in hexadecimal.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Replica}/{Acquisition:x}");

    /// <summary>The replica of an owner value that a store gave back.</summary>
    /// <param name="ownerValue">A text made by <see cref="ToString"/>.</param>
    public static string ReplicaOf(string ownerValue)
    {
        ArgumentNullException.ThrowIfNull(ownerValue);
        var slash = ownerValue.LastIndexOf('/');
        return slash < 0 ? ownerValue : ownerValue[..slash];
    }
}
