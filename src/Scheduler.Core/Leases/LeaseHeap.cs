namespace Scheduler.Leases;

/// <summary>
/// A binary heap of leases by due time. Each lease knows its place, so that a release removes it at once: with lazy deletion every
/// released lease would stay in memory until it would have been due. Not thread-safe.
/// </summary>
internal sealed class LeaseHeap
{
    private const int None = -1;
    private LeaseState[] _items = new LeaseState[16];

    public int Count { get; private set; }

    public LeaseState Top => _items[0];

    public void Add(LeaseState lease)
    {
        if (Count == _items.Length)
        {
            Array.Resize(ref _items, Count + (Count / 2));
        }
        Place(lease, Count++);
        MoveUp(lease.HeapIndex);
    }

    /// <summary>Takes the lease out; harmless when it is not in.</summary>
    public bool Remove(LeaseState lease)
    {
        var index = lease.HeapIndex;
        if (index == None)
        {
            return false;
        }
        lease.HeapIndex = None;
        var last = _items[--Count];
        _items[Count] = null!;
        if (!ReferenceEquals(last, lease))
        {
            Place(last, index);
            Update(last);
        }
        return true;
    }

    /// <summary>Puts a lease whose due time has changed in its place.</summary>
    public void Update(LeaseState lease)
    {
        if (lease.HeapIndex != None)
        {
            MoveUp(lease.HeapIndex);
            MoveDown(lease.HeapIndex);
        }
    }

    /// <summary>All leases, in no order.</summary>
    public LeaseState[] ToArray() => _items[..Count];

    private void MoveUp(int index)
    {
        var lease = _items[index];
        while (index > 0 && _items[(index - 1) / 2] is { } parent && parent.Due > lease.Due)
        {
            Place(parent, index);
            index = (index - 1) / 2;
        }
        Place(lease, index);
    }

    private void MoveDown(int index)
    {
        var lease = _items[index];
        while (true)
        {
            var child = (2 * index) + 1;
            if (child >= Count)
            {
                break;
            }
            if (child + 1 < Count && _items[child + 1].Due < _items[child].Due)
            {
                child++;
            }
            if (_items[child].Due >= lease.Due)
            {
                break;
            }
            Place(_items[child], index);
            index = child;
        }
        Place(lease, index);
    }

    private void Place(LeaseState lease, int index)
    {
        _items[index] = lease;
        lease.HeapIndex = index;
    }
}
